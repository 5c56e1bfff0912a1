export { alignDisks, type AlignOptions } from './align/align.ts';
export { type DomainDisk, type DomainSummary, summarizeDomain } from './align/domain-disk.ts';
export { type FileSystem, generatedName } from './align/generated-name.ts';
export { DomainSnapshotError, type ErrorPlace, LIBVIRT_CODES, type LibvirtCode } from './errors.ts';
export { type FormatFlag, type FormatOptions, formatSnapshot } from './format/snapshot.ts';
export type { Profile } from './model/profile.ts';
export {
  hasPathOrFormat,
  isExternal,
  type Mirror,
  type Snapshot,
  type SnapshotDisk,
  type SnapshotMemory,
} from './model/snapshot.ts';
export * from './model/source.ts';
export {
  DISK_FORMATS,
  type HostTransport,
  LOCATIONS,
  type NetworkProtocol,
  PROTOCOL_PORTS,
  type SnapshotLocation,
  type SnapshotState,
  SOURCE_TYPES,
  type SourceType,
  STATES,
} from './model/values.ts';
export {
  type ParsedSnapshot,
  type ParseFlag,
  type ParseOptions,
  parseDomainDocument,
  parseSnapshot,
} from './parse/snapshot.ts';
export { type SnapshotSummary, summarizeSnapshot } from './parse/summary.ts';
export type { SchemaMirror } from './schema/hunk.ts';
export { loadSnapshotSchema, SCHEMA_FOLDER, type SchemaOptions, SnapshotSchema } from './schema/schema.ts';
export { MAX_DOCUMENT_BYTES, type ReadDocument, type ReadOptions, readXml } from './xml/document.ts';
export { selectNodes, wrapNodes } from './xml/select-nodes.ts';
export {
  childNamed,
  property,
  select,
  textOf,
  type XmlAttribute,
  type XmlChild,
  type XmlElement,
  type XmlMarkup,
} from './xml/tree.ts';
export { type CreateAsArguments, createAsXml } from './spec/create-as.ts';
export { type DiskSpec, parseDiskSpec } from './spec/disk-spec.ts';
export { type MemSpec, parseMemSpec } from './spec/mem-spec.ts';
export { type ListFlag, type ListOptions, listSnapshots } from './tree/filter.ts';
export {
  addSnapshot,
  type BrokenLink,
  childrenOf,
  currentSnapshot,
  type DeleteScope,
  deleteSnapshot,
  descendantsOf,
  EMPTY_LIST,
  findSnapshot,
  type LoadedList,
  loadSnapshots,
  type ParentLinks,
  parentLinks,
  parentOf,
  setCurrent,
  type SnapshotList,
} from './tree/list.ts';
export { type RedefineOptions, redefineSnapshot } from './tree/redefine.ts';
