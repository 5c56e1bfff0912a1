import { ferryError } from '../../src/base/index.ts';
import type { CommandArguments } from '../../src/qmp/index.ts';
import type { Node, SimQemu } from './sim-qemu.ts';

type Executor = (qemu: SimQemu, args: never) => unknown;

/** Every command that the engine sends, and what QEMU answers. */
const COMMANDS: { readonly [name: string]: Executor } = {
  'query-status': ({ status }) => ({ status, running: status === 'running' }),
  'query-qmp-schema': ({ behaviour }) =>
    behaviour.missesWrites
      ? [{ name: 'block-job-change', 'meta-type': 'command', 'arg-type': '0', 'ret-type': '0' }]
      : [],
  'query-iothreads': ({ behaviour }) => (behaviour.ioThread ? [{ id: 'io0' }] : []),
  'query-block': ({ disks }) =>
    [...disks].map(([disk, node]) => ({
      device: '',
      qdev: `/machine/peripheral/${disk}/virtio-backend`,
      inserted: { 'node-name': node.name },
    })),
  // The flat answer has a depth of 0 for all of them.
  'query-named-block-nodes': ({ nodes }, { flat }: CommandArguments<'query-named-block-nodes'>) =>
    [...nodes.values()].map((node) => ({ 'node-name': node.name, backing_file_depth: flat ? 0 : depthOf(node) })),
  'query-block-jobs': ({ jobs }) =>
    [...jobs.values()].map(({ id, type, status, looked, dirty, copied, error }) => ({
      device: id,
      type,
      status,
      'io-status': 'ok',
      offset: looked ? copied : 0,
      len: looked ? copied + dirty.size : 0,
      ...(error !== undefined && status === 'concluded' && { error }),
    })),
  stop: (qemu) => qemu.stop(),
  cont: (qemu) => qemu.resume(),
  'blockdev-add': (qemu, args) => qemu.addNode(args),
  'blockdev-del': (qemu, args: CommandArguments<'blockdev-del'>) => qemu.deleteNode(args['node-name']),
  'blockdev-reopen': (qemu, args) => qemu.reopen(args),
  'blockdev-mirror': (qemu, args) => qemu.startMirror(args),
  'block-commit': (qemu, args) => qemu.startCommit(args),
  transaction: (qemu, { actions }: CommandArguments<'transaction'>) =>
    qemu.snapshot(
      actions.map((action) => {
        if (action.type !== 'blockdev-snapshot') throw new Error(`no model of ${action.type}`);
        return action.data;
      }),
    ),
  'job-complete': (qemu, { id }: CommandArguments<'job-complete'>) => qemu.complete(id),
  'job-finalize': (qemu, { id }: CommandArguments<'job-finalize'>) => qemu.finalize(id),
  'job-cancel': (qemu, { id }: CommandArguments<'job-cancel'>) => qemu.cancel(id),
  'job-dismiss': (qemu, { id }: CommandArguments<'job-dismiss'>) => qemu.dismiss(id),
};

function depthOf({ backing }: Node): number {
  return backing === undefined ? 0 : 1 + depthOf(backing);
}

/** @throws FerryError QMP_COMMAND */
export function executeOn(qemu: SimQemu, name: string, args: object): unknown {
  const execute = COMMANDS[name];
  if (!execute) throw ferryError('QMP_COMMAND', { command: name, desc: 'no model of it', class: 'CommandNotFound' });
  return execute(qemu, args as never) ?? {};
}
