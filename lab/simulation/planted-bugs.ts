import type { CommitKind } from '../../src/journal/index.ts';
import type { MigrationJournal, MigrationPlan } from '../../src/migration/index.ts';
import { STEP } from '../../src/migration/steps/index.ts';
import type { Step } from '../../src/migration/steps/step.ts';
import type { VirtualMachine } from '../../src/vm/index.ts';
import type { Parts, Surroundings } from './schedule.ts';

/** Bugs that an engineer could make, each as small as can be. The simulation has to find every one of them. */
export const PLANTED_BUGS: { readonly [bug: string]: Parts } = {
  'the record is written before the guest is held': {
    wrap({ vm, journal }) {
      const quiesce = (): Disposable => {
        const swapping = journal.steps(ID).some(({ step, state }) => step === 'pivot' && state === 'intended');
        if (swapping && !journal.commitRecord(ID, 'pivot')) journal.writeCommitRecord(ID, 'pivot', {});
        return journal.quiesce();
      };
      const writeCommitRecord = (id: string, kind: CommitKind, detail: unknown): void => {
        if (journal.commitRecord(id, kind) === undefined) journal.writeCommitRecord(id, kind, detail);
      };
      return { vm, journal: changed(journal, { quiesce, writeCommitRecord }) };
    },
  },

  'the record is written after the first finalize': {
    wrap({ vm, journal }) {
      let late: (() => void) | undefined;
      const writeCommitRecord = (id: string, kind: CommitKind, detail: unknown): void => {
        late = () => journal.writeCommitRecord(id, kind, detail);
      };
      const release = async (jobs: readonly string[]): Promise<void> => {
        await vm.release(jobs.slice(0, 1));
        late?.();
        late = undefined;
        await vm.release(jobs.slice(1));
      };
      return { vm: changed(vm, { release }), journal: changed(journal, { writeCommitRecord }) };
    },
  },

  'the group is cancelled when a finalize fails': {
    wrap({ vm, journal }) {
      const release = async (jobs: readonly string[]): Promise<void> => {
        try {
          await vm.release(jobs);
        } catch (error) {
          await vm.cancel(jobs);
          throw error;
        }
      };
      return { vm: changed(vm, { release }), journal };
    },
  },

  'the fold has no record': {
    wrap({ vm, journal }) {
      const writeCommitRecord = (id: string, kind: CommitKind, detail: unknown): void => {
        if (kind === 'pivot') journal.writeCommitRecord(id, kind, detail);
      };
      return { vm, journal: changed(journal, { writeCommitRecord }) };
    },
  },

  'the hold goes on whatever the target says': {
    wrap({ vm, journal }) {
      const hold: VirtualMachine['hold'] = (jobs, _limit, stop) =>
        vm.hold(jobs, Number.POSITIVE_INFINITY, (limit) => stop(limit).catch(() => undefined));
      return { vm: changed(vm, { hold }), journal };
    },
  },

  'mirrors are taken for ready without a look': {
    wrap({ vm, journal }) {
      const jobs: VirtualMachine['jobs'] = async (ids) =>
        (await vm.jobs(ids)).map((job) => ({
          ...job,
          done: job.total,
          ioStatus: 'ok',
          status: READY[job.status] ?? job.status,
        }));
      return { vm: changed(vm, { jobs }), journal };
    },
  },

  'the copies are not verified': { steps: { ...STEP, verify: without(STEP.verify, 'act') } },

  'the mirror is put on nothing': {
    command: (name, args) => {
      if (name !== 'blockdev-reopen') return args;
      const { options } = args as { options: readonly object[] };
      return { options: options.map((option) => ({ ...option, backing: null })) };
    },
  },

  'the mirror is opened on nothing and never put on the chain': {
    command: (name, args) => {
      if (name === 'blockdev-reopen') return undefined;
      return name === 'blockdev-add' && 'backing' in args ? { ...args, backing: null } : args;
    },
  },

  'the mirror stays on the chain of the source': {
    wrap: ({ vm, journal }) => ({ vm: changed(vm, { attach: () => Promise.resolve() }), journal }),
  },

  'the mirrors are put on the chain before the guest is held': {
    wrap({ vm, journal }) {
      const hold: VirtualMachine['hold'] = async (jobs, limitMs, beforeStop) => {
        await chains?.();
        await vm.hold(jobs, limitMs, beforeStop);
      };
      let chains: (() => Promise<void>) | undefined;
      const openChains: VirtualMachine['openChains'] = async (all) => {
        await vm.openChains(all);
        chains = () => vm.attach(all);
      };
      return { vm: changed(vm, { hold, openChains }), journal };
    },
  },

  'recovery forgets a disk': {
    wrap({ vm, journal }) {
      const migration: MigrationJournal['migration'] = (id) => {
        const row = journal.migration(id);
        const plan = row.plan as MigrationPlan;
        return { ...row, plan: { ...plan, disks: plan.disks.slice(0, Math.max(1, plan.disks.length - 1)) } };
      };
      return { vm, journal: changed(journal, { migration }) };
    },
  },

  'the ledger is written after the act': {
    wrap({ vm, journal }) {
      const late: (() => void)[] = [];
      const ledgerPlan: MigrationJournal['ledgerPlan'] = (id, entry) => {
        late.push(() => journal.ledgerPlan(id, entry));
        return { ...entry, id: 0, migration: id, state: 'planned', detail: null, createdAt: 0, updatedAt: 0 };
      };
      const ledger: MigrationJournal['ledger'] = (id, filter) => {
        for (const write of late.splice(0)) write();
        return journal.ledger(id, filter);
      };
      return { vm, journal: changed(journal, { ledgerPlan, ledger }) };
    },
  },

  'a held guest is let go without a look at the record': {
    wrap({ vm, journal }) {
      // Whoever takes over frees the guest before it begins or undoes a step.
      let freed = false;
      const commitRecord: MigrationJournal['commitRecord'] = (id, kind) =>
        freed || kind !== 'pivot' ? journal.commitRecord(id, kind) : undefined;
      const intendStep: MigrationJournal['intendStep'] = (...args) => {
        freed = true;
        journal.intendStep(...args);
      };
      const undoingStep: MigrationJournal['undoingStep'] = (...args) => {
        freed = true;
        journal.undoingStep(...args);
      };
      return { vm, journal: changed(journal, { commitRecord, intendStep, undoingStep }) };
    },
  },

  'jobs are started while the guest writes': { command: (name, args) => (name === 'stop' ? undefined : args) },

  'a record whose writing failed is not revoked': {
    wrap: ({ vm, journal }) => ({ vm, journal: changed(journal, { voidCommitRecord: () => undefined }) }),
  },
};

const ID = 'k3x9ab';

const READY: Readonly<Record<string, string>> = { created: 'ready', running: 'ready' };

/** The same thing with some of its methods replaced. */
export function changed<T extends Surroundings[keyof Surroundings]>(real: T, methods: Partial<T>): T {
  return new Proxy(real, {
    get(target, name) {
      const found: unknown = Reflect.get(name in methods ? methods : target, name);
      return typeof found === 'function' ? (found.bind(name in methods ? methods : target) as unknown) : found;
    },
  });
}

function without(step: Step, method: 'act'): Step {
  return { ...step, [method]: () => Promise.resolve() };
}
