/** C's `isspace` before the digits, an optional sign, decimal digits, and nothing after them: `strtoll` as libvirt calls it. */
const DECIMAL = /^[ \t\n\v\f\r]*([+-]?)([0-9]+)$/;
/** The same with base 0: `0x` is hexadecimal, a leading `0` octal. */
const ANY_BASE = /^[ \t\n\v\f\r]*([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)$/;

const SIGNED_64 = { least: -(2n ** 63n), most: 2n ** 63n - 1n };
const MOST_UNSIGNED_64 = 2n ** 64n - 1n;
const SIGNED_32 = { least: -(2n ** 31n), most: 2n ** 31n - 1n };
const MOST_UNSIGNED_32 = 2n ** 32n - 1n;

function within(value: bigint, least: bigint, most: bigint): bigint | undefined {
  return value >= least && value <= most ? value : undefined;
}

function decimal(text: string): bigint | undefined {
  const match = DECIMAL.exec(text);
  return match ? BigInt(match[2] ?? '') * (match[1] === '-' ? -1n : 1n) : undefined;
}

/** A signed 64 bit number, or undefined. */
export function signed64(text: string): bigint | undefined {
  const value = decimal(text);
  return value === undefined ? undefined : within(value, SIGNED_64.least, SIGNED_64.most);
}

/** A signed 32 bit number, or undefined. */
export function signed32(text: string): number | undefined {
  const value = decimal(text);
  const found = value === undefined ? undefined : within(value, SIGNED_32.least, SIGNED_32.most);
  return found === undefined ? undefined : Number(found);
}

/** An unsigned 64 bit number, or undefined; a minus sign is refused. */
export function unsigned64(text: string): bigint | undefined {
  const value = text.includes('-') ? undefined : decimal(text);
  return value === undefined ? undefined : within(value, 0n, MOST_UNSIGNED_64);
}

/**
 * An unsigned 64 bit number where libvirt lets C's `strtoull` wrap a negative one around: `-1` is 2^64 - 1. Only the
 * namespace of NVMe is read so.
 */
export function wrapping64(text: string): bigint | undefined {
  const value = decimal(text);
  if (value === undefined || value > MOST_UNSIGNED_64 || value < -MOST_UNSIGNED_64) return undefined;
  return BigInt.asUintN(64, value);
}

/** An unsigned 32 bit number, or undefined. With `base` 0, hexadecimal and octal too. */
export function unsigned32(text: string, base: 0 | 10 = 10): number | undefined {
  const match = (base === 0 ? ANY_BASE : DECIMAL).exec(text);
  if (!match || match[1] === '-') return undefined;
  const digits = match[2] ?? '';
  const octal = base === 0 && /^0[0-7]+$/.test(digits);
  const value = BigInt(octal ? `0o${digits.slice(1)}` : digits);
  return value <= MOST_UNSIGNED_32 ? Number(value) : undefined;
}

const POWERS = 'kmgtpe';

/**
 * The factor of a unit: `b`, `byte`, `bytes` are 1; a letter of k m g t p e alone or with `iB` a power of 1024, with
 * `B` of 1000; any case. Undefined for anything else.
 */
export function unitFactor(unit: string): bigint | undefined {
  const lower = unit.toLowerCase();
  if (['', 'b', 'byte', 'bytes'].includes(lower)) return 1n;
  const power = BigInt(POWERS.indexOf(lower.charAt(0)) + 1);
  if (power === 0n) return undefined;
  const rest = lower.slice(1);
  if (rest === '' || rest === 'ib') return 1024n ** power;
  return rest === 'b' ? 1000n ** power : undefined;
}

/** The largest scaled value, in bytes. */
export const MOST_BYTES: bigint = MOST_UNSIGNED_64;
