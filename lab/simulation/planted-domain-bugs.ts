import { BLOCK_JOB_ABORT } from '../../src/libvirt/index.ts';
import type { CommitKind } from '../../src/journal/index.ts';
import type { DomainReach, Libvirtd } from '../../src/vm/libvirt/reach.ts';
import { changed } from './planted-bugs.ts';
import type { Parts } from './schedule.ts';

/** The same for VMs of libvirt: what an engineer of that driver could leave out or do in another order. */
export const PLANTED_DOMAIN_BUGS: { readonly [bug: string]: Parts } = {
  'a snapshot that libvirtd has forgotten is not looked for in QEMU': {
    wrap: ({ vm, journal }) => ({ vm: changed(vm, { isOpen: () => Promise.resolve(false) }), journal }),
  },

  'the record is written before the disks go over': {
    wrap({ vm, journal }) {
      const hold: typeof vm.hold = async (jobs, limitMs, beforeStop) => {
        early?.();
        await vm.hold(jobs, limitMs, beforeStop);
      };
      let early: (() => void) | undefined;
      const quiesce = (): Disposable => {
        const { id } = journal.migration(ID);
        const kind: CommitKind = journal.commitRecord(id, 'pivot') === undefined ? 'pivot' : 'fold';
        early = () => journal.writeCommitRecord(id, kind, {});
        return journal.quiesce();
      };
      const writeCommitRecord: typeof journal.writeCommitRecord = (id, kind, detail) => {
        if (journal.commitRecord(id, kind) === undefined) journal.writeCommitRecord(id, kind, detail);
      };
      return { vm: changed(vm, { hold }), journal: changed(journal, { quiesce, writeCommitRecord }) };
    },
  },

  'the VM is not suspended while its disks go over': {
    reach: calling(async (name, call) => (name === 'DOMAIN_SUSPEND' ? {} : await call())),
  },

  'the VM goes on between two pivots': {
    reach: calling(async (name, call, again, args) => {
      const answer = await call();
      const isPivot = name === 'DOMAIN_BLOCK_JOB_ABORT' && 'flags' in args && args.flags === BLOCK_JOB_ABORT.PIVOT;
      if (isPivot) await again('DOMAIN_RESUME');
      return answer;
    }),
  },

  'what has gone over is not taken back': {
    wrap({ vm, journal }) {
      const cancel: typeof vm.cancel = async (jobs) => {
        const pending = (await vm.jobs(jobs)).filter(({ status }) => status === 'pending');
        await vm.cancel(jobs.filter((job) => pending.every(({ id }) => id !== job)));
      };
      return { vm: changed(vm, { cancel }), journal };
    },
  },

  'a pivot that libvirtd has taken for an abort is not looked for in QEMU': {
    reach: (real) => ({ ...real, hasOpen: () => Promise.resolve(false) }),
  },

  'what a libvirtd that was killed has left open stays open': {
    wrap({ vm, journal }) {
      return { vm: changed(vm, { closeNodes: leave, closeUnusedNodes: leave }), journal };
    },
  },
};

const ID = 'k3x9ab';

const leave = (): Promise<void> => Promise.resolve();

type Call = (name: string, args?: object) => Promise<unknown>;

/** Changes what is asked of libvirtd. */
function calling(
  change: (name: string, call: () => Promise<unknown>, again: Call, args: object) => Promise<unknown>,
): (real: DomainReach) => DomainReach {
  return (real) => ({
    ...real,
    connect: async () => {
      const client = await real.connect();
      const ask = client.call.bind(client) as Call;
      const again: Call = (name, args) => ask(name, { dom: real.dom, ...args });
      const call: Call = (name, args = {}) => change(name, () => ask(name, args), again, args);
      return new Proxy(client, {
        get: (target, property) => (property === 'call' ? call : (Reflect.get(target, property) as unknown)),
      }) satisfies Libvirtd;
    },
  });
}
