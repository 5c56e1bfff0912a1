import type { QmpClient } from '../../qmp/index.ts';
import type { HostFacts } from './read-inventory.ts';

/** What driving a VM needs of a connection to its monitor. */
export type Monitor = Pick<
  QmpClient,
  'state' | 'execute' | 'executeRaw' | 'listen' | 'close' | typeof Symbol.asyncDispose
>;

/** A connection, and which QEMU was found behind it. */
export interface DialledMonitor {
  readonly qmp: Monitor;
  readonly host: HostFacts;
}
