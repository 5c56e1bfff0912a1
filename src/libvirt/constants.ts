/**
 * The numbers of libvirt's API that callers need, by libvirt's names without their common beginning. A test compares them
 * with libvirt's headers where a source tree is present.
 */

/** Codes of errors (`VIR_ERR_…`). */
export const ERR = {
  INTERNAL_ERROR: 1,
  NO_SUPPORT: 3,
  INVALID_ARG: 8,
  OPERATION_FAILED: 9,
  XML_ERROR: 27,
  DOM_EXIST: 28,
  OPERATION_DENIED: 29,
  XML_DETAIL: 35,
  SYSTEM_ERROR: 38,
  RPC: 39,
  NO_DOMAIN: 42,
  AUTH_FAILED: 45,
  OPERATION_INVALID: 55,
  CONFIG_UNSUPPORTED: 67,
  OPERATION_TIMEOUT: 68,
  INVALID_DOMAIN_SNAPSHOT: 71,
  NO_DOMAIN_SNAPSHOT: 72,
  ARGUMENT_UNSUPPORTED: 74,
  SNAPSHOT_REVERT_RISKY: 77,
  OPERATION_ABORTED: 78,
  NO_DOMAIN_METADATA: 80,
  BLOCK_COPY_ACTIVE: 83,
  OPERATION_UNSUPPORTED: 84,
  AGENT_UNRESPONSIVE: 86,
  RESOURCE_BUSY: 87,
  ACCESS_DENIED: 88,
  XML_INVALID_SCHEMA: 92,
  AUTH_UNAVAILABLE: 94,
} as const;

/** States of a domain (`VIR_DOMAIN_…`). */
export const DOMAIN_STATE = {
  NOSTATE: 0,
  RUNNING: 1,
  BLOCKED: 2,
  PAUSED: 3,
  SHUTDOWN: 4,
  SHUTOFF: 5,
  CRASHED: 6,
  PMSUSPENDED: 7,
} as const;

/** Which side a change or a question is about (`VIR_DOMAIN_AFFECT_…`). */
export const AFFECT = { CURRENT: 0, LIVE: 1, CONFIG: 2 } as const;

/** What a domain's XML holds (`VIR_DOMAIN_XML_…`). */
export const DOMAIN_XML = { SECURE: 1, INACTIVE: 2, UPDATE_CPU: 4, MIGRATABLE: 8 } as const;

/** `VIR_DOMAIN_DEFINE_…`. */
export const DOMAIN_DEFINE = { VALIDATE: 1 } as const;

/** `VIR_DOMAIN_START_…`. */
export const DOMAIN_START = {
  PAUSED: 1,
  AUTODESTROY: 2,
  BYPASS_CACHE: 4,
  FORCE_BOOT: 8,
  VALIDATE: 16,
  RESET_NVRAM: 32,
} as const;

/** Which domains are listed (`VIR_CONNECT_LIST_DOMAINS_…`); 0 is all. */
export const LIST_DOMAINS = {
  ACTIVE: 1,
  INACTIVE: 2,
  PERSISTENT: 4,
  TRANSIENT: 8,
  RUNNING: 16,
  PAUSED: 32,
  SHUTOFF: 64,
  OTHER: 128,
} as const;

/** `VIR_DOMAIN_SNAPSHOT_CREATE_…`. */
export const SNAPSHOT_CREATE = {
  REDEFINE: 1,
  CURRENT: 2,
  NO_METADATA: 4,
  HALT: 8,
  DISK_ONLY: 16,
  REUSE_EXT: 32,
  QUIESCE: 64,
  ATOMIC: 128,
  LIVE: 256,
  VALIDATE: 512,
} as const;

/** Which snapshots are listed (`VIR_DOMAIN_SNAPSHOT_LIST_…`). ROOTS is DESCENDANTS where children are listed. */
export const SNAPSHOT_LIST = {
  ROOTS: 1,
  DESCENDANTS: 1,
  METADATA: 2,
  LEAVES: 4,
  NO_LEAVES: 8,
  NO_METADATA: 16,
  INACTIVE: 32,
  ACTIVE: 64,
  DISK_ONLY: 128,
  INTERNAL: 256,
  EXTERNAL: 512,
  TOPOLOGICAL: 1024,
} as const;

/** `VIR_DOMAIN_SNAPSHOT_DELETE_…`. */
export const SNAPSHOT_DELETE = { CHILDREN: 1, METADATA_ONLY: 2, CHILDREN_ONLY: 4 } as const;

/** `VIR_DOMAIN_SNAPSHOT_REVERT_…`. */
export const SNAPSHOT_REVERT = { RUNNING: 1, PAUSED: 2, FORCE: 4, RESET_NVRAM: 8 } as const;

/** `VIR_DOMAIN_BLOCK_COPY_…`. SYNCHRONOUS_WRITES with SHALLOW and REUSE_EXT corrupts the copy (libvirt 9.0). */
export const BLOCK_COPY = { SHALLOW: 1, REUSE_EXT: 2, TRANSIENT_JOB: 4, SYNCHRONOUS_WRITES: 8 } as const;

/** `VIR_DOMAIN_BLOCK_COMMIT_…`. */
export const BLOCK_COMMIT = { SHALLOW: 1, DELETE: 2, ACTIVE: 4, RELATIVE: 8, BANDWIDTH_BYTES: 16 } as const;

/** `VIR_DOMAIN_BLOCK_PULL_…`. */
export const BLOCK_PULL = { BANDWIDTH_BYTES: 64 } as const;

/** `VIR_DOMAIN_BLOCK_REBASE_…`. */
export const BLOCK_REBASE = {
  SHALLOW: 1,
  REUSE_EXT: 2,
  COPY_RAW: 4,
  COPY: 8,
  RELATIVE: 16,
  COPY_DEV: 32,
  BANDWIDTH_BYTES: 64,
} as const;

/** `VIR_DOMAIN_BLOCK_JOB_ABORT_…`. */
export const BLOCK_JOB_ABORT = { ASYNC: 1, PIVOT: 2 } as const;

/** `VIR_DOMAIN_BLOCK_JOB_INFO_…`: whether a bandwidth is in bytes; else it is in MiB. */
export const BLOCK_JOB_INFO = { BANDWIDTH_BYTES: 1 } as const;

/** `VIR_DOMAIN_BLOCK_JOB_SPEED_…`. */
export const BLOCK_JOB_SPEED = { BANDWIDTH_BYTES: 1 } as const;

/** What a block job is (`VIR_DOMAIN_BLOCK_JOB_TYPE_…`). */
export const BLOCK_JOB_TYPE = { UNKNOWN: 0, PULL: 1, COPY: 2, COMMIT: 3, ACTIVE_COMMIT: 4, BACKUP: 5 } as const;

/** What an event says of a block job (`VIR_DOMAIN_BLOCK_JOB_…`). */
export const BLOCK_JOB_STATUS = { COMPLETED: 0, FAILED: 1, CANCELED: 2, READY: 3 } as const;

/** What happened to a domain: the field `event` of LIFECYCLE (`VIR_DOMAIN_EVENT_…`). */
export const LIFECYCLE = {
  DEFINED: 0,
  UNDEFINED: 1,
  STARTED: 2,
  SUSPENDED: 3,
  RESUMED: 4,
  STOPPED: 5,
  SHUTDOWN: 6,
  PMSUSPENDED: 7,
  CRASHED: 8,
} as const;
