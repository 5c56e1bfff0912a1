// The reply of query-qmp-schema (QEMU's qapi/introspect.json).

interface Named {
  readonly name: string;
  readonly features?: readonly string[];
}

export interface Member extends Named {
  readonly type: string;
  /** Present, and null, where the member may be left out. */
  readonly default?: null;
}

export interface ObjectType extends Named {
  readonly 'meta-type': 'object';
  readonly members: readonly Member[];
  /** The member that tells the variants apart. */
  readonly tag?: string;
  readonly variants?: readonly { readonly case: string; readonly type: string }[];
}

export type SchemaType =
  | (Named & { readonly 'meta-type': 'builtin'; readonly 'json-type': string })
  | (Named & { readonly 'meta-type': 'enum'; readonly values: readonly string[] })
  | (Named & { readonly 'meta-type': 'array'; readonly 'element-type': string })
  | ObjectType
  | (Named & { readonly 'meta-type': 'alternate'; readonly members: readonly { readonly type: string }[] });

export interface SchemaCommand extends Named {
  readonly 'meta-type': 'command';
  readonly 'arg-type': string;
  readonly 'ret-type': string;
}

export type SchemaEntity =
  | SchemaType
  | SchemaCommand
  | (Named & { readonly 'meta-type': 'event'; readonly 'arg-type': string });
