import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { resolveBackingName } from '../../image/index.ts';
import { makePlan } from './make-plan.ts';
import type { MigrationPlan } from './plan.ts';
import type { Survey } from './survey.ts';
import { sampleInventory, sampleSurvey, surveyed } from './testing/sample-survey.ts';

const MiB = 2 ** 20;

const planOf = (survey: Survey): MigrationPlan => {
  const { plan, refusals } = makePlan(survey);
  if (plan === undefined) throw new Error(refusals.map(({ message }) => message).join('; '));
  return plan;
};

describe('the plan', () => {
  const shared = [
    surveyed('a', ['/fast/a.qcow2', '/fast/base.raw']),
    surveyed('b', ['/fast/b.qcow2', '/fast/base.raw']),
  ];

  test('copies a shared base once, and before what stands on it', () => {
    expect(planOf(sampleSurvey(shared)).copies.map(({ target, disks }) => [target, disks])).toEqual([
      ['/big/base.raw', ['a', 'b']],
      ['/big/a.qcow2', ['a']],
      ['/big/b.qcow2', ['b']],
    ]);
  });

  test('names nodes by their files where the VM does, and mirrors last', () => {
    const survey = sampleSurvey(shared);
    const plan = planOf({ ...survey, inventory: { ...survey.inventory, naming: 'files' } });
    const [disk] = plan.disks;
    expect(plan.suspendedSwap).toBe(true);
    expect(disk?.nodes).toMatchObject({
      source: disk?.sourceOverlay,
      mirror: disk?.targetOverlay,
      base: '/big/a.qcow2',
    });
    expect(disk?.jobs).toEqual({
      mirror: `copy a ${disk?.sourceOverlay} -> ${disk?.targetOverlay}`,
      fold: `commit a ${disk?.targetOverlay} -> /big/a.qcow2`,
      foldBack: `commit a ${disk?.sourceOverlay} -> /fast/a.qcow2`,
    });
    expect(planOf(survey).suspendedSwap).toBeUndefined();
  });

  test('what would not survive the move is a reason to refuse', () => {
    const survey = sampleSurvey(shared);
    const { refusals } = makePlan({ ...survey, inventory: { ...survey.inventory, obstacles: ["the snapshot 's'"] } });
    expect(refusals.map(({ code, fields }) => [code, fields['what']])).toEqual([
      ['VM_HAS_OBSTACLES', "the snapshot 's'"],
    ]);
  });

  test('copies a shared base once to each folder', () => {
    const [a, b] = shared;
    if (a === undefined || b === undefined) throw new Error('two disks');
    const { copies } = planOf(sampleSurvey([a, { ...b, folder: '/other' }]));
    expect(copies.map(({ target }) => target).filter((target) => target.endsWith('.raw'))).toEqual([
      '/big/base.raw',
      '/other/base.raw',
    ]);
  });

  test('removes what this VM alone uses, and keeps a base that somebody else stands on or that lies elsewhere', () => {
    const disks = [surveyed('a', ['/fast/a.qcow2', '/fast/own.raw', '/fast/used.raw', '/templates/far.raw'])];
    const otherUse = new Map([['/fast/used.raw', { reasons: ['the image /fast/clone stands on it'] }]]);
    const { sourceFiles } = planOf(sampleSurvey(disks, { otherUse }));
    expect(sourceFiles.map(({ path, action, reason }) => [path, action, reason])).toEqual([
      ['/fast/a.qcow2', 'remove', undefined],
      ['/fast/own.raw', 'remove', undefined],
      ['/fast/used.raw', 'keep', 'the image /fast/clone stands on it'],
      ['/templates/far.raw', 'keep', expect.stringContaining('another folder')],
    ]);
  });

  test('with --keep-source renames the active image, so that nobody starts it, and leaves the rest', () => {
    const survey = sampleSurvey([surveyed('a', ['/fast/a.qcow2', '/fast/base.raw'])]);
    const { sourceFiles } = planOf({ ...survey, request: { ...survey.request, keepSource: true } });
    expect(sourceFiles.map(({ action, renameTo }) => [action, renameTo])).toEqual([
      ['rename', '/fast/a.qcow2.moved-k3x9ab'],
      ['keep', undefined],
    ]);
  });

  test('keeps the new name of a kept source within what a file system takes', () => {
    const survey = sampleSurvey([surveyed('a', [`/fast/${'ü'.repeat(127)}`])]);
    const { sourceFiles } = planOf({ ...survey, request: { ...survey.request, keepSource: true } });
    expect(sourceFiles[0]?.renameTo).toBe(`/fast/${'ü'.repeat(121)}.moved-k3x9ab`);
  });

  test('with --leave-link names backing images absolutely: QEMU looks for relative names beside the link', () => {
    const survey = sampleSurvey([surveyed('a', ['/fast/a.qcow2', '/fast/base.raw'])]);
    const linked = planOf({ ...survey, request: { ...survey.request, leaveLink: true } });
    expect(linked.copies.at(-1)?.backing?.name).toBe('/big/base.raw');
    expect(linked.sourceFiles.map(({ link }) => link)).toEqual(['/big/a.qcow2', undefined]);
    expect(planOf(survey).copies.at(-1)?.backing?.name).toBe('base.raw');
  });

  test('asks for more space the more the guest writes, on both storages, and refuses what does not fit', () => {
    const disks = [surveyed('a', ['/fast/a.qcow2'])];
    const needed = (rate: number): readonly number[] =>
      planOf(sampleSurvey(disks, { writeRate: new Map([['a', rate]]) })).storages.map(({ needed: bytes }) => bytes);
    const [calm, busy] = [needed(0), needed(8 * MiB)];
    expect(calm).toHaveLength(2);
    for (const [n, bytes] of calm.entries()) expect(busy[n]).toBeGreaterThan(bytes);
    const storages = new Map([
      ['/fast', { device: '/fast', free: 2 ** 40 }],
      ['/big', { device: '/big', free: 31 * MiB }],
    ]);
    expect(makePlan(sampleSurvey(disks, { storages })).refusals.map(({ code }) => code)).toEqual(['SPACE_TOO_LITTLE']);
  });

  test('counts a file system once that is source and target', () => {
    const storages = new Map(['/fast', '/big'].map((path) => [path, { device: 'one', free: 2 ** 40 }]));
    const plan = planOf(sampleSurvey([surveyed('a', ['/fast/a.qcow2'])], { storages }));
    expect(plan.storages.map(({ role }) => role)).toEqual(['both']);
  });

  test('says what is not done, and that a VM which does not run moves all the same', () => {
    const disks = [surveyed('a', ['/fast/a.qcow2'])];
    const survey = sampleSurvey(disks, {
      inventory: sampleInventory(
        disks.map(({ disk }) => disk),
        { status: 'paused' },
      ),
    });
    const { notes } = planOf({ ...survey, request: { ...survey.request, fold: false, verify: false } });
    expect(notes.join('\n')).toMatch(/paused[^]*not folded[^]*not read back[^]*start command/);
  });

  test('names the disks whose interrupts may be lost, where QEMU loses them', () => {
    const [a, b] = [surveyed('a', ['/fast/a.qcow2']), surveyed('b', ['/fast/b.qcow2'])];
    const threaded = { ...a, disk: { ...a.disk, threaded: true } };
    const notesOn = (version: string): string => {
      const inventory = sampleInventory([threaded.disk, b.disk], { version });
      return planOf(sampleSurvey([threaded, b], { inventory })).notes.join('\n');
    };
    expect(notesOn('10.0.2')).toMatch(/^a: on an I\/O thread, where QEMU 10\.0\.2 may lose an interrupt/m);
    expect(notesOn('8.2.0')).toContain('interrupt');
    for (const version of ['7.2.22', '8.1.5']) expect(notesOn(version)).not.toContain('interrupt');
  });
});

/** VMs whose disks stand on common bases or on their own, and go to one of two folders. */
const surveys = fc
  .array(
    fc.record({
      depth: fc.integer({ min: 1, max: 4 }),
      base: fc.constantFrom('one.raw', 'two.raw', undefined),
      folder: fc.constantFrom('/big', '/other'),
    }),
    { minLength: 1, maxLength: 5 },
  )
  .chain((shapes) =>
    fc.record({
      shapes: fc.constant(shapes),
      leaveLink: fc.boolean(),
      keepSource: fc.boolean(),
      used: fc.subarray(['/fast/one.raw', '/fast/two.raw']),
    }),
  )
  .map(({ shapes, leaveLink, keepSource, used }) => {
    const disks = shapes.map(({ depth, base, folder }, n) => {
      const own = Array.from({ length: depth }, (_, level) => `/fast/disk${n}-${level}.qcow2`);
      return surveyed(`d${n}`, [...own, ...(base === undefined ? [] : [`/fast/${base}`])], { folder });
    });
    const survey = sampleSurvey(disks, { otherUse: new Map(used.map((path) => [path, { reasons: ['used'] }])) });
    return { ...survey, request: { ...survey.request, leaveLink, keepSource } };
  });

describe('every plan', () => {
  test('is the same for the same survey', () => {
    fc.assert(
      fc.property(surveys, (survey) => {
        expect(makePlan(survey)).toEqual(makePlan(structuredClone(survey)));
      }),
    );
  });

  test('copies each image once to each folder, below it first, under names that lead to it', () => {
    fc.assert(
      fc.property(surveys, (survey) => {
        const { copies, disks } = planOf(survey);
        const targets = copies.map(({ target }) => target);
        expect(new Set(targets).size).toBe(targets.length);
        for (const { disk, folder = '', chain } of survey.disks) {
          for (const image of chain) {
            const copy = copies.find(({ target }) => target === join(folder, image.path.slice('/fast/'.length)));
            expect(copy?.source).toBe(image.realPath);
            expect(copy?.disks).toContain(disk.id);
          }
        }
        for (const { target, backing } of copies.filter(({ backing: below }) => below !== undefined)) {
          const below = resolveBackingName(target, backing?.name ?? '');
          expect(targets.indexOf(below)).toBeGreaterThanOrEqual(0);
          expect(targets.indexOf(below)).toBeLessThan(targets.indexOf(target));
        }
        for (const { target, targetOverlay, sourceOverlay, active } of disks) {
          expect(dirname(targetOverlay)).toBe(dirname(target));
          expect(dirname(sourceOverlay)).toBe(dirname(active.realPath));
          expect(targets).not.toContain(targetOverlay);
        }
      }),
    );
  });

  test('gives every node and job a name of its own, which QEMU takes', () => {
    fc.assert(
      fc.property(surveys, (survey) => {
        const names = planOf(survey).disks.flatMap(({ nodes, jobs }) => [
          ...Object.values(nodes),
          ...Object.values(jobs),
        ]);
        expect(new Set(names).size).toBe(names.length);
        for (const name of names) expect(name).toMatch(/^[a-z][\w.-]{0,30}$/);
      }),
    );
  });

  test('removes nothing that is used, and no image twice', () => {
    fc.assert(
      fc.property(surveys, (survey) => {
        const { sourceFiles } = planOf(survey);
        expect(new Set(sourceFiles.map(({ realPath }) => realPath)).size).toBe(sourceFiles.length);
        for (const { realPath, action } of sourceFiles) {
          if (survey.otherUse.has(realPath)) expect(action).toBe('keep');
          if (survey.request.keepSource) expect(action).not.toBe('remove');
        }
      }),
    );
  });
});
