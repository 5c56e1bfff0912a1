/**
 * A client of QEMU's monitor protocol, QMP, usable on its own as `blockferry/qmp`.
 */
export { formatQmpAddress, type QmpAddress } from './address.ts';
export { type ConnectOptions, type ExecuteParameters, QmpClient, type QmpEventQueue } from './client.ts';
export type {
  BlockJob,
  CommandArguments,
  CommandName,
  CommandReturns,
  Commands,
  EventName,
  EventOf,
  QmpEvent,
} from './commands.ts';
export { isQmpCommandError, isQmpConnectionLost } from './errors.ts';
export type * from './generated/commands.ts';
export type { QmpErrorReply, QmpGreeting } from './message.ts';
export { QmpSchema } from './schema.ts';
export type { ExecuteOptions, QmpState } from './session.ts';
