import {
  BaseType,
  double,
  int32,
  int64,
  type Reader,
  uint32,
  uint64,
  type Writer,
  type XdrType,
} from '@stellar/js-xdr';

/** A named value of libvirt's typed parameters: of statistics, of `blockcopy`, of the limits of a disk. */
export type TypedParam =
  | { readonly field: string; readonly type: 'int' | 'uint' | 'double'; readonly value: number }
  | { readonly field: string; readonly type: 'llong' | 'ullong'; readonly value: bigint }
  | { readonly field: string; readonly type: 'boolean'; readonly value: boolean }
  | { readonly field: string; readonly type: 'string'; readonly value: string };

/** libvirt's numbers for the types of typed parameters (`VIR_TYPED_PARAM_…`). */
const NUMBERS = { int: 1, uint: 2, llong: 3, ullong: 4, double: 5, boolean: 6, string: 7 } as const;
const NAMES: ReadonlyMap<number, keyof typeof NUMBERS> = new Map(
  Object.entries(NUMBERS).map(([name, number]) => [number, name as keyof typeof NUMBERS]),
);

/** `remote_typed_param`: a name, and a union of seven types. */
export class TypedParamType extends BaseType<TypedParam> {
  readonly kind = 'param';
  readonly #text: XdrType<string>;
  readonly #values: { readonly [type in keyof typeof NUMBERS]: XdrType<unknown> };

  constructor(text: XdrType<string>) {
    super();
    this.#text = text;
    this.#values = {
      int: int32(),
      uint: uint32(),
      llong: int64(),
      ullong: uint64(),
      double: double(),
      boolean: int32(),
      string: text,
    };
  }

  _read(reader: Reader, path: string): TypedParam {
    const field = this.#text._read(reader, `${path}.field`);
    const number = reader.readInt32(`${path}.type`);
    const type = NAMES.get(number);
    if (type === undefined) throw new TypeError(`${path}: a parameter of the unknown type ${number}`);
    const value = this.#values[type]._read(reader, `${path}.value`);
    return { field, type, value: type === 'boolean' ? value !== 0 : value } as TypedParam;
  }

  _write({ field, type, value }: TypedParam, writer: Writer, path: string): void {
    this.#text._write(field, writer, `${path}.field`);
    writer.writeInt32(NUMBERS[type]);
    this.#values[type]._write(type === 'boolean' ? Number(value) : value, writer, `${path}.value`);
  }
}

/** The values of typed parameters by their names. */
export function paramValues(params: readonly TypedParam[]): Record<string, number | bigint | boolean | string> {
  return Object.fromEntries(params.map(({ field, value }) => [field, value]));
}
