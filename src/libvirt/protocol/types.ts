/**
 * The words for types in the tables of calls and events, what they are in TypeScript, and how they go over the wire (XDR,
 * RFC 4506). `text?` may be null, `domain<16384>` is a list of at most 16384.
 */
import {
  array,
  BaseType,
  double,
  int32,
  int64,
  opaque,
  option,
  type Reader,
  string,
  struct,
  uint32,
  uint64,
  type Writer,
  type XdrType,
} from '@stellar/js-xdr';
import { type TypedParam, TypedParamType } from './typed-param.ts';

/** The most bytes of one text (`REMOTE_STRING_MAX`). */
const TEXT_LIMIT = 4_194_304;

/** A domain as calls name it. libvirt looks at the uuid alone; `id` is that of the running instance, -1 where there is none. */
export interface RemoteDomain {
  readonly name: string;
  /** `01234567-89ab-cdef-0123-456789abcdef`. */
  readonly uuid: string;
  readonly id: number;
}

/** A snapshot as calls name it. */
export interface RemoteSnapshot {
  readonly name: string;
  readonly dom: RemoteDomain;
}

/** A checkpoint as calls name it. */
export type RemoteCheckpoint = RemoteSnapshot;

/** An I/O error that stopped a disk: 1 unspecified, 2 no space. */
export interface RemoteDiskError {
  readonly disk: string;
  readonly error: number;
}

/** The statistics of one domain. */
export interface RemoteStatsRecord {
  readonly dom: RemoteDomain;
  readonly params: readonly TypedParam[];
}

interface Words {
  readonly int: number;
  readonly uint: number;
  readonly hyper: bigint;
  readonly uhyper: bigint;
  readonly double: number;
  readonly text: string;
  readonly uuid: string;
  readonly domain: RemoteDomain;
  readonly snapshot: RemoteSnapshot;
  readonly checkpoint: RemoteCheckpoint;
  readonly param: TypedParam;
  readonly diskError: RemoteDiskError;
  readonly network: { readonly name: string; readonly uuid: string };
  readonly statsRecord: RemoteStatsRecord;
}

/** The fields of a structure, in their order on the wire. */
export type Fields = Readonly<Record<string, string>>;

/** What a word stands for in TypeScript. */
export type ValueOf<W extends string> = W extends keyof Words
  ? Words[W]
  : W extends `${infer E extends string}?`
    ? ValueOf<E> | null
    : W extends `${infer E extends string}<${number}>`
      ? readonly ValueOf<E>[]
      : never;

/** The values of a structure. */
export type ValuesOf<F extends Fields> = { readonly [name in keyof F]: ValueOf<F[name]> };

/** Text is UTF-8, and ends at a NUL for libvirt: such text cannot be sent. */
class TextType extends BaseType<string> {
  readonly kind = 'text';
  readonly #bytes = string(TEXT_LIMIT);

  _read(reader: Reader, path: string): string {
    return new TextDecoder('utf-8', { fatal: true }).decode(this.#bytes._read(reader, path));
  }

  _write(value: string, writer: Writer, path: string): void {
    if (typeof value !== 'string') throw new TypeError(`${path}: not a text`);
    if (value.includes('\0') || !value.isWellFormed())
      throw new TypeError(`${path}: a text with a NUL or half a character`);
    this.#bytes._write(new TextEncoder().encode(value), writer, path);
  }
}

class UuidType extends BaseType<string> {
  readonly kind = 'uuid';
  readonly #bytes = opaque(16);

  _read(reader: Reader, path: string): string {
    const hex = Buffer.from(this.#bytes._read(reader, path)).toString('hex');
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
  }

  _write(value: string, writer: Writer, path: string): void {
    const hex = value.replaceAll('-', '');
    if (!/^[0-9a-f]{32}$/i.test(hex)) throw new TypeError(`${path}: not a uuid`);
    this.#bytes._write(Buffer.from(hex, 'hex'), writer, path);
  }
}

const text = new TextType();
const uuid = new UuidType();
const domain = struct('domain', { name: text, uuid, id: int32() });
const snapshot = struct('snapshot', { name: text, dom: domain });
const param = new TypedParamType(text);

const SCHEMAS: { readonly [word in keyof Words]: XdrType<unknown> } = {
  int: int32(),
  uint: uint32(),
  hyper: int64(),
  uhyper: uint64(),
  double: double(),
  text,
  uuid,
  domain,
  snapshot,
  checkpoint: snapshot,
  param,
  diskError: struct('diskError', { disk: text, error: int32() }),
  network: struct('network', { name: text, uuid }),
  statsRecord: struct('statsRecord', { dom: domain, params: array(param, 262_144) }),
};

function schemaOf(word: string): XdrType<unknown> {
  if (Object.hasOwn(SCHEMAS, word)) return SCHEMAS[word as keyof Words];
  const list = /^(\w+)<(\d+)>$/.exec(word);
  if (list) return array(schemaOf(list[1] ?? ''), Number(list[2]));
  if (word.endsWith('?')) return option(schemaOf(word.slice(0, -1)));
  throw new TypeError(`'${word}' is no type of the protocol`);
}

const made = new WeakMap<Fields, XdrType<Readonly<Record<string, unknown>>>>();

/** How the structure with these fields is written and read. */
export function structure(fields: Fields): XdrType<Readonly<Record<string, unknown>>> {
  let schema = made.get(fields);
  if (schema === undefined) {
    const entries = Object.entries(fields).map(([name, word]) => [name, schemaOf(word)] as const);
    schema = struct('fields', Object.fromEntries(entries));
    made.set(fields, schema);
  }
  return schema;
}
