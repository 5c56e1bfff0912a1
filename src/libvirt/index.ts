/**
 * A client of libvirt's daemons over their own protocol, usable on its own as `blockferry/libvirt`.
 */
export {
  type CallArguments,
  type CallName,
  type CallParameters,
  type CallReturns,
  type DomainEvent,
  type DomainEventName,
  LibvirtClient,
  type LibvirtConnectOptions,
} from './client.ts';
export * from './constants.ts';
export { isLibvirtConnectionLost, isLibvirtError } from './errors.ts';
export type { KeepAliveOptions } from './keepalive.ts';
export { paramValues, type TypedParam } from './protocol/typed-param.ts';
export type {
  RemoteCheckpoint,
  RemoteDiskError,
  RemoteDomain,
  RemoteSnapshot,
  RemoteStatsRecord,
} from './protocol/types.ts';
export type { CallOptions, LibvirtState } from './session.ts';
export { type LibvirtTransport, type LibvirtUri, parseLibvirtUri } from './uri.ts';
