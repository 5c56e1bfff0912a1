import { readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type EngineOptions,
  type EngineResult,
  type LoadedVm,
  loadedVm,
  migrate,
  takeOver,
  type Traces,
  traces,
} from '../../lab/engine.ts';
import {
  type FioResult,
  type HangingFilesystem,
  hangingFilesystem,
  Lab,
  qemuBuilds,
  whyNoHang,
} from '../../lab/index.ts';
import { run } from '../base/index.ts';
import { QmpClient } from '../qmp/index.ts';
import type { VirtualMachine } from '../vm/index.ts';
import { Journal } from '../journal/index.ts';
import type { Run } from './run.ts';
import { STEP, type StepTable } from './steps/index.ts';

const MiB = 2 ** 20;
const MAX_HOLD_MS = 1500;
/** What a busy machine without KVM may add to a write that waits for nobody. */
const SLACK_MS = 1500;
const { builds } = await qemuBuilds();
const noHang = await whyNoHang();
if (noHang !== undefined) console.warn(`not tested: storages that hang (${noHang})`);

async function signalServer(signal: 'STOP' | 'KILL', id: string): Promise<void> {
  await run('pkill', [`-${signal}`, '-f', `^qemu-storage-daemon.*blockferry-${id}-`]);
}

/** The mirrors are opened on a server that stands still from then on when the storages have been asked, and the VM is about to stop. */
async function mirrorOnHungServer(run: Run): Promise<void> {
  const startMirrors: VirtualMachine['startMirrors'] = async (mirrors, beforeStop, limitMs) => {
    const hangsThen = async (): Promise<void> => {
      await beforeStop();
      await signalServer('STOP', run.plan.id);
    };
    await run.vm.startMirrors(mirrors, hangsThen, limitMs);
  };
  const vm = new Proxy(run.vm, {
    get(target, key) {
      if (key === 'startMirrors') return startMirrors;
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
  await STEP.mirror.act({ ...run, vm });
}

describe.skipIf(noHang).each(builds)('QEMU $version ($label): a storage that hangs', (build) => {
  let lab: Lab;
  let loaded: LoadedVm;
  let before: Traces;
  let storage: HangingFilesystem;

  beforeAll(async () => {
    lab = await Lab.open({ name: 'hangs', build });
    storage = await hangingFilesystem({ size: 160 * MiB });
    lab.defer(async () => {
      await storage[Symbol.asyncDispose]();
    });
    loaded = await loadedVm(lab, {
      warm: [32 * MiB, 32 * MiB],
      disks: async (source) => {
        const path = (name: string): string => join(source, `${name}.qcow2`);
        for (const [n, name] of ['a', 'b'].entries())
          await lab.image({ path: path(name), format: 'qcow2', size: 32 * MiB, fill: { bytes: 8 * MiB, seed: n } });
        return ['a', 'b'].map((id) => ({ id, path: path(id), format: 'qcow2' as const }));
      },
      writers: (disks) =>
        disks.map(({ id }, n) => ({ disk: id, seed: n + 1, rate: 100, region: { offset: 0, length: 16 * MiB } })),
    });
    before = await traces(loaded.vm, [loaded.source]);
  });

  afterAll(async () => {
    await lab[Symbol.asyncDispose]();
  });

  // What does not depend on the build is tried on one: it takes its time.
  const onFirst = build === builds[0];

  interface Hung extends EngineResult {
    readonly fio: FioResult;
    /**
     * The longest that a writer's acknowledgements stood still, by the clock of the host: that of the guest stands still
     * itself while its processors are stopped.
     */
    readonly standstillMs: number;
  }

  const watchStandstill = (): { end(): number } => {
    const last = loaded.writers.map((writer) => ({ count: writer.acknowledged, at: performance.now() }));
    let longest = 0;
    const look = setInterval(() => {
      for (const [n, writer] of loaded.writers.entries()) {
        const [count, at, known] = [writer.acknowledged, performance.now(), last[n]];
        if (known) longest = Math.max(longest, at - known.at);
        if (count !== known?.count) last[n] = { count, at };
      }
    }, 10);
    return {
      end: () => {
        clearInterval(look);
        return longest;
      },
    };
  };

  /** Migrates to the storage, with a load on a disk whose slowest write is measured. */
  const migrateUnderLoad = async ({ request, ...options }: Omit<Partial<EngineOptions>, 'stateDir'>): Promise<Hung> => {
    const load = await loaded.vm.startFio({
      disk: 'a',
      pattern: 'randwrite',
      iops: 100,
      offset: 16 * MiB,
      size: 16 * MiB,
    });
    const watch = watchStandstill();
    const result = await migrate(loaded.vm, {
      stateDir: loaded.stateDir,
      request: { to: storage.path, maxHoldMs: MAX_HOLD_MS, ...request },
      ...options,
    });
    // It goes on without us, whatever became of the migration.
    await Promise.all(loaded.writers.map((writer) => writer.advanced(20)));
    const standstillMs = watch.end();
    const fio = await load.stop();
    console.info(
      `QEMU ${build.version}: ${result.outcome.kind}, the guest stood still for ${standstillMs.toFixed(0)} ms at most, slowest write by its own clock ${fio.write.latencyMs.max.toFixed(0)} ms`,
    );
    expect(fio.error).toBe(0);
    return { ...result, fio, standstillMs };
  };

  /** The real steps; just before a method of the VM is called, something hangs. Default: the storage. */
  const hangingIn = (
    method: 'hold' | 'cancel',
    hang: (run: Run) => Promise<void> = () => storage.hang(),
  ): StepTable => {
    const hung = (run: Run): Run => {
      const vm = new Proxy(run.vm, {
        get(target, key) {
          const value: unknown = Reflect.get(target, key, target);
          if (typeof value !== 'function') return value;
          return async (...args: unknown[]): Promise<unknown> => {
            if (key === method) await hang(run);
            return await (value.apply(target, args) as Promise<unknown>);
          };
        },
      });
      return { ...run, vm };
    };
    return method === 'hold'
      ? { ...STEP, pivot: { ...STEP.pivot, act: (run) => STEP.pivot.act(hung(run)) } }
      : { ...STEP, attach: { ...STEP.attach, undo: (run) => STEP.attach.undo(hung(run)) } };
  };

  /** The monitor answers, and the VM runs. */
  const isFree = async (): Promise<void> => {
    await using qmp = await QmpClient.connect({ path: loaded.vm.qmpPath });
    expect((await qmp.execute('query-status')).status).toBe('running');
  };

  const asBefore = async (id: string): Promise<void> => {
    expect(await traces(loaded.vm, [loaded.source])).toEqual(before);
    expect(await readdir(storage.path)).toEqual(['lost+found']);
    using journal = Journal.open(loaded.stateDir, { readOnly: true });
    expect(journal.ledger(id, { states: ['planned', 'made'] })).toEqual([]);
  };

  test('the target, between the last look at it and the swap: given up within the limit', async () => {
    const { outcome, plan, standstillMs } = await migrateUnderLoad({ steps: hangingIn('hold') });
    expect(outcome.kind, outcome.message).toBe('attention');
    expect(standstillMs).toBeLessThan(MAX_HOLD_MS + SLACK_MS);
    await isFree();
    await storage.answer();
    const again = await takeOver(loaded.vm, { stateDir: loaded.stateDir, id: plan.id });
    expect(again.kind, again.message).toBe('rolled-back');
    await asBefore(plan.id);
  });

  test('the mirror server itself, which does not even answer who would cut it off: it is killed', async () => {
    const { outcome, plan, standstillMs } = await migrateUnderLoad({
      steps: hangingIn('hold', ({ plan }) => signalServer('STOP', plan.id)),
    });
    expect(outcome.kind, outcome.message).toBe('rolled-back');
    expect(outcome.message).toContain('the mirror server does not answer');
    expect(standstillMs).toBeLessThan(MAX_HOLD_MS + SLACK_MS);
    await isFree();
    await asBefore(plan.id);
  });

  test('the mirror server, while the mirrors are opened on it and the VM stands still: given up within the limit', async () => {
    const { outcome, plan, standstillMs } = await migrateUnderLoad({
      steps: { ...STEP, mirror: { ...STEP.mirror, act: mirrorOnHungServer } },
    });
    expect(outcome.kind, outcome.message).toBe('rolled-back');
    expect(outcome.message).toContain(`did not begin within ${MAX_HOLD_MS} ms`);
    expect(standstillMs).toBeLessThan(MAX_HOLD_MS + SLACK_MS);
    await isFree();
    await asBefore(plan.id);
  });

  test.runIf(onFirst)('the mirror server is killed while the images are copied: rolled back', async () => {
    const { outcome, plan } = await migrateUnderLoad({
      watch: (migration, event) => {
        if (event?.type === 'step' && event.step === 'copy' && event.state === 'begun')
          void signalServer('KILL', migration.plan.id);
      },
    });
    expect(outcome.kind, outcome.message).toBe('rolled-back');
    await asBefore(plan.id);
  });

  test.runIf(onFirst)('the target, while the mirrors are ended', async () => {
    const { outcome, plan, standstillMs } = await migrateUnderLoad({
      steps: hangingIn('cancel'),
      watch: (migration, event) => {
        if (event?.type === 'step' && event.step === 'attach' && event.state === 'done') migration.control.abort();
      },
    });
    expect(outcome.kind, outcome.message).toBe('attention');
    expect(standstillMs).toBeLessThan(SLACK_MS);
    await isFree();
    await storage.answer();
    const again = await takeOver(loaded.vm, { stateDir: loaded.stateDir, id: plan.id });
    expect(again.kind, again.message).toBe('rolled-back');
    await asBefore(plan.id);
  });

  test.runIf(onFirst)('the target, before the swap: nothing is begun, and all goes on when it answers', async () => {
    const said: string[] = [];
    const { outcome, standstillMs } = await migrateUnderLoad({
      watch: (_, event) => {
        if (event?.type === 'step' && event.step === 'attach' && event.state === 'done') void storage.hang();
        if (event?.type !== 'warning') return;
        said.push(event.message);
        if (event.message.endsWith('has to wait')) void storage.answer();
      },
    });
    expect(outcome.kind, outcome.message).toBe('done');
    expect(said.filter((message) => message.endsWith('answers again'))).toHaveLength(1);
    expect(standstillMs).toBeLessThan(MAX_HOLD_MS + SLACK_MS);
    expect((await readdir(storage.path)).toSorted()).toEqual(['a.qcow2', 'b.qcow2', 'lost+found']);
  });

  test.runIf(onFirst)(
    'the source, after the swap: the guest goes on without it, and what is left is done when it answers',
    async () => {
      const { outcome, plan, standstillMs } = await migrateUnderLoad({
        request: { to: loaded.target },
        watch: (_, event) => {
          if (event?.type === 'step' && event.step === 'fold' && event.state === 'begun') void storage.hang();
        },
      });
      expect(outcome.kind, outcome.message).toBe('attention');
      expect(outcome.message).toMatch(/The target is the truth .* Go on with: blockferry resume/);
      expect(standstillMs).toBeLessThan(MAX_HOLD_MS + SLACK_MS);
      await isFree();
      await storage.answer();
      const again = await takeOver(loaded.vm, { stateDir: loaded.stateDir, id: plan.id });
      expect(again.kind, again.message).toBe('done');
      expect(await readdir(storage.path)).toEqual(['lost+found']);
      const checks = await loaded.check(({ path = '' }) => join(loaded.target, basename(path)));
      expect(checks.map(({ lostCount, damagedCount }) => [lostCount, damagedCount])).toEqual([
        [0, 0],
        [0, 0],
      ]);
      expect(await loaded.vm.ioErrors()).toEqual([]);
    },
  );
});
