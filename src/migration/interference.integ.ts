import { readdir, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { BareVm, DISKS } from '../../lab/bare-vm.ts';
import { type EngineResult, migrate, takeOver } from '../../lab/engine.ts';
import { Lab, type QemuBuild, qemuBuilds } from '../../lab/index.ts';
import { type Clock, systemClock } from '../base/index.ts';
import type { VirtualMachine } from '../vm/index.ts';
import { STEP, type StepTable } from './steps/index.ts';

const MiB = 2 ** 20;
const { builds } = await qemuBuilds();

const endOf = ({ outcome }: EngineResult): readonly (string | undefined)[] => [
  outcome.kind,
  'cause' in outcome ? outcome.cause?.code : undefined,
];

/** A wall clock that nobody can go by: each look is years before or after the last. */
const madClock = (): Clock => {
  let looks = 0;
  return { ...systemClock, now: () => 1e12 + (looks++ % 2 === 0 ? 1 : -1) * looks * 1e8 };
};

/** The real steps, with something that happens while the guest's I/O is held; the VM may answer otherwise from then on. */
const whileHeld = (happens: () => Promise<unknown>, then: Partial<VirtualMachine> = {}): StepTable => ({
  ...STEP,
  pivot: {
    ...STEP.pivot,
    act: async (real) => {
      let answers: Partial<VirtualMachine> = {
        attach: async (chains) => {
          await real.vm.attach(chains);
          await happens();
          answers = then;
        },
      };
      const vm = new Proxy(real.vm, {
        get: (target, name) => {
          const value: unknown = Reflect.get(answers, name) ?? Reflect.get(target, name);
          return typeof value === 'function' ? (value.bind(target) as unknown) : value;
        },
      });
      await STEP.pivot.act({ ...real, vm });
    },
  },
});

describe.each(builds)('QEMU $version ($label): others do something to the VM meanwhile', (build: QemuBuild) => {
  test('before the record it is taken back, and nothing that the guest wrote is lost', async () => {
    await using lab = await Lab.open({ name: 'disturbed', build });
    const here = await BareVm.start(lab);
    const { qmp, source, target, stateDir, vm } = here;
    const before = await here.traces();
    const asBefore = async (id: string): Promise<void> => {
      expect(await here.traces()).toEqual(before);
      expect(here.left(id)).toEqual([]);
    };

    // Somebody cancels one of our jobs.
    const cancelled = await here.migrate('copy begun', (id) => qmp.execute('job-cancel', { id: `bf-${id}-mirror1` }));
    expect(endOf(cancelled)).toEqual(['rolled-back', 'MIRROR_FAILED']);
    await asBefore(cancelled.plan.id);

    // A backup program begins one of its own: no mirror, and no fold back, before it ends.
    await qmp.execute('blockdev-add', { driver: 'null-co', 'node-name': 'backup', size: 32 * MiB });
    const backedUp = await here.migrate('snapshot done', (id) =>
      qmp.execute('blockdev-backup', { 'job-id': 'theirs', device: `bf-${id}-src0`, target: 'backup', sync: 'none' }),
    );
    expect(backedUp.outcome.kind).toBe('attention');
    expect(backedUp.outcome.message).toContain('undoing snapshot failed');
    expect(backedUp.outcome.message).toContain('The source is the truth for every disk');
    await here.write('a', 1);
    using ended = qmp.listen(({ event, data }) => event === 'BLOCK_JOB_CANCELLED' && data.device === 'theirs');
    await qmp.execute('job-cancel', { id: 'theirs' });
    await ended.next();
    await qmp.execute('blockdev-del', { 'node-name': 'backup' });
    expect(await takeOver(vm, { stateDir, id: backedUp.plan.id })).toMatchObject({ kind: 'rolled-back' });
    await asBefore(backedUp.plan.id);

    // What was copied is written to by somebody else; a file on the target is removed, or replaced.
    const touched = await here.migrate('attach done', () => utimes(join(source, 'b.qcow2'), 1, 1));
    expect(endOf(touched)).toEqual(['rolled-back', 'SOURCE_CHANGED']);
    await asBefore(touched.plan.id);
    const removed = await here.migrate('attach done', () => rm(join(target, 'b.qcow2')));
    expect(endOf(removed)).toEqual(['rolled-back', 'TARGET_CHANGED']);
    await asBefore(removed.plan.id);

    // A disk is unplugged; before that it was written to.
    for (const [at, pattern] of [
      ['copy begun', 2],
      ['attach done', 3],
    ] as const) {
      using gone = qmp.listen(['DEVICE_DELETED']);
      const unplugged = await here.migrate(at, async () => {
        for (const id of DISKS) await here.write(id, pattern);
        await qmp.executeRaw('device_del', { id: 'a' });
        await gone.next();
      });
      expect(endOf(unplugged), at).toEqual(['rolled-back', 'DISK_CHANGED']);
      expect(unplugged.outcome.message).toContain('disk a: it was unplugged from the VM');
      await asBefore(unplugged.plan.id);
      await qmp.executeRaw('device_add', { driver: 'scsi-hd', id: 'a', drive: 'n-a' });
    }
    // In the hold itself: the last look is just before the record. QEMU cannot be made to change a disk in these few
    // milliseconds (an unplugged device goes when the hold is over), so its answer is changed.
    const late = await here.migrate('attach done', () => here.write('a', 4), {
      steps: whileHeld(() => Promise.resolve(), { activeNode: () => Promise.resolve('theirs') }),
    });
    expect(endOf(late)).toEqual(['rolled-back', 'DISK_CHANGED']);
    await asBefore(late.plan.id);
    await here.holds(source, { a: [1, 2, 3, 4], b: [2, 3] });
  });

  test.runIf(build === builds[0])(
    'what does not concern us does not disturb us, and after the record it goes forward',
    async () => {
      await using lab = await Lab.open({ name: 'undisturbed', build });
      const here = await BareVm.start(lab);
      const { qmp, source, target, vm } = here;
      const third = await lab.storage('third');

      // Another manager, with a journal of its own, was faster: it moves the disks between our look and our snapshot.
      const overtaken = await here.migrate('prepare done', async () => {
        const theirs = { qmpPath: vm.qmpPaths[2] ?? '' };
        const other = await migrate(theirs, { stateDir: join(lab.folder, 'their state'), request: { to: third } });
        expect(other.outcome.kind, other.outcome.message).toBe('done');
      });
      expect(endOf(overtaken)[0], overtaken.outcome.message).toBe('rolled-back');
      expect(here.left(overtaken.plan.id)).toEqual([]);
      expect([await readdir(source), await readdir(target)]).toEqual([[], []]);
      expect((await readdir(third)).toSorted()).toEqual(['a.qcow2', 'b.qcow2']);

      // The lab's VMs would end.
      await qmp.executeRaw('set-action', { reboot: 'reset' });
      // The VM is reset, also while its I/O is held; and the clock of the host goes mad.
      const reset = await here.migrate('copy begun', () => qmp.executeRaw('system_reset'), {
        steps: whileHeld(() => qmp.executeRaw('system_reset')),
        clock: madClock(),
      });
      expect(endOf(reset), reset.outcome.message).toEqual(['done', undefined]);
      expect(await here.status()).toBe('running');

      // Somebody stops the VM: it moves all the same, and it is theirs to let it go on.
      const stopped = await here.migrate('copy begun', () => qmp.execute('stop'), { to: third });
      expect(endOf(stopped), stopped.outcome.message).toEqual(['done', undefined]);
      expect(await here.status()).toBe('paused');
      await qmp.execute('cont');

      // A disk is unplugged when the swap is over: its image on the target is complete.
      const unplugged = await here.migrate('pivot done', async () => {
        for (const id of DISKS) await here.write(id, 5);
        using gone = qmp.listen(['DEVICE_DELETED']);
        await qmp.executeRaw('device_del', { id: 'a' });
        await gone.next();
      });
      expect(endOf(unplugged), unplugged.outcome.message).toEqual(['done', undefined]);
      expect(unplugged.events.find(({ type }) => type === 'warning')).toMatchObject({
        message: expect.stringContaining(`disk a was unplugged from the VM meanwhile`) as unknown,
      });
      expect([here.left(unplugged.plan.id), await readdir(third)]).toEqual([[], []]);
      expect((await readdir(target)).toSorted()).toEqual(['a.qcow2', 'b.qcow2']);
      await here.holds(target, { a: [5], b: [5] });
    },
  );
});

test('a file on the target that is not ours any more is left where it is', async () => {
  await using lab = await Lab.open({ name: 'replaced' });
  const here = await BareVm.start(lab);
  const copy = join(here.target, 'b.qcow2');
  const { outcome } = await here.migrate('attach done', async () => {
    await rename(copy, `${copy}.taken`);
    await writeFile(copy, 'somebody else put this here');
  });
  expect(outcome.message).toContain('is another file than the one that was made');
  expect((await readdir(here.target)).toSorted()).toEqual(['b.qcow2', 'b.qcow2.taken']);
});
