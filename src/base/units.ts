import { ferryError } from './ferry-error.ts';

const FACTORS: Readonly<Record<string, number>> = { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40, p: 2 ** 50 };

/**
 * Reads a size in bytes or a rate in bytes per second: a number with an optional unit, powers of 1024
 * (`512`, `64k`, `1.5G`, `100MiB`, `100MB/s`).
 * @throws FerryError BAD_SIZE
 */
export function parseSize(text: string): number {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([kmgtp]?)(?:i?b)?(?:\/s)?\s*$/i.exec(text);
  const bytes = match ? Number(match[1]) * (FACTORS[(match[2] ?? '').toLowerCase()] ?? Number.NaN) : Number.NaN;
  if (!Number.isSafeInteger(Math.round(bytes))) throw ferryError('BAD_SIZE', { text });
  return Math.round(bytes);
}

/**
 * Reads a time in whole milliseconds, more than none.
 * @throws FerryError BAD_TIME
 */
export function parseMilliseconds(text: string): number {
  const ms = /^\s*\d{1,9}\s*(?:ms)?\s*$/.test(text) ? Number.parseInt(text, 10) : 0;
  if (ms === 0) throw ferryError('BAD_TIME', { text });
  return ms;
}

/** Bytes as a person reads them: `0 B`, `1.5 GiB`. Three significant digits at most. */
export function formatSize(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let value = bytes;
  let unit = 0;
  while (Math.abs(value) >= 1023.95 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || Math.abs(value) >= 99.95 ? 0 : 1;
  return `${value.toFixed(digits)} ${units[unit]}`;
}

/** Bytes per second as a person reads them. */
export function formatRate(bytesPerSecond: number): string {
  return `${formatSize(bytesPerSecond)}/s`;
}

/** A duration in milliseconds as a person reads it: `9.4 ms`, `12 s`, `3 min 20 s`, `2 h 5 min`. */
export function formatDuration(ms: number): string {
  if (ms < 1000) return `${ms.toFixed(1)} ms`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}
