/**
 * The events of domains that this client knows. `id` is libvirt's number of the event, which it is asked for by
 * (`VIR_DOMAIN_EVENT_ID_…`), `procedure` that of the message, as in `remote_protocol.x`. Where the protocol wraps the fields
 * into a structure `msg`, they stand here without it: the bytes are the same.
 */
export const DOMAIN_EVENTS = {
  LIFECYCLE: { procedure: 318, id: 0, message: { callbackID: 'int', dom: 'domain', event: 'int', detail: 'int' } },
  REBOOT: { procedure: 319, id: 1, message: { callbackID: 'int', dom: 'domain' } },
  IO_ERROR_REASON: {
    procedure: 324,
    id: 6,
    message: { callbackID: 'int', dom: 'domain', srcPath: 'text', devAlias: 'text', action: 'int', reason: 'text' },
  },
  BLOCK_JOB: {
    procedure: 326,
    id: 8,
    message: { callbackID: 'int', dom: 'domain', path: 'text', type: 'int', status: 'int' },
  },
  DEVICE_REMOVED: { procedure: 333, id: 15, message: { callbackID: 'int', dom: 'domain', devAlias: 'text' } },
  BLOCK_JOB_2: {
    procedure: 339,
    id: 16,
    message: { callbackID: 'int', dom: 'domain', dst: 'text', type: 'int', status: 'int' },
  },
  AGENT_LIFECYCLE: {
    procedure: 348,
    id: 18,
    message: { callbackID: 'int', dom: 'domain', state: 'int', reason: 'int' },
  },
  DEVICE_ADDED: { procedure: 354, id: 19, message: { callbackID: 'int', dom: 'domain', devAlias: 'text' } },
  JOB_COMPLETED: { procedure: 363, id: 21, message: { callbackID: 'int', dom: 'domain', params: 'param<64>' } },
  BLOCK_THRESHOLD: {
    procedure: 385,
    id: 24,
    message: { callbackID: 'int', dom: 'domain', dev: 'text', path: 'text?', threshold: 'uhyper', excess: 'uhyper' },
  },
} as const;
