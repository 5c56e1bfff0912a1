import { describe, expect, test } from 'vitest';
import { ferryError } from '../../base/index.ts';
import { type MigrationEvent, planRefused, type ProgressReport } from '../../migration/index.ts';
import { HeldClock } from '../testing/held-clock.ts';
import { samplePlan } from '../testing/sample-plan.ts';
import { Screen } from '../testing/screen.ts';
import { Written } from '../testing/written.ts';
import { JsonRenderer } from './json-renderer.ts';
import type { Renderer } from './renderer.ts';
import { TextRenderer } from './text-renderer.ts';

const MiB = 2 ** 20;

/** A whole migration, a second for each thing that happens. */
async function play(renderer: Renderer, clock: HeldClock): Promise<void> {
  const copy: ProgressReport = {
    phase: 'copy',
    key: '/big/vda.qcow2',
    disks: ['vda'],
    done: 10 * MiB,
    total: 20 * MiB,
    rate: 2 * MiB,
  };
  const events: MigrationEvent[] = [
    { type: 'started', vm: 'web 1', disks: ['vda', 'vdb'] },
    { type: 'step', step: 'copy', state: 'begun' },
    { type: 'paused' },
    { type: 'resumed' },
    { type: 'speed', bytesPerSecond: 5 * MiB },
    { type: 'step', step: 'copy', state: 'done', ms: 6000 },
    { type: 'warning', message: 'a\nb' },
    { type: 'step', step: 'pivot', state: 'begun' },
    { type: 'held', kind: 'pivot', ms: 9.42, disks: 2 },
    { type: 'step', step: 'pivot', state: 'done', ms: 80 },
    { type: 'held', kind: 'fold', ms: 3, disks: 2 },
    { type: 'finished', outcome: 'done', message: 'moved' },
  ];
  renderer.begin(samplePlan);
  for (const event of events) {
    renderer.event(event);
    if (event.type === 'step' && event.state === 'begun') renderer.progress(copy);
    await clock.pass(1000);
  }
  renderer.result({ outcome: 'done', exitStatus: 0, message: 'moved' });
}

test('plain lines where there is no terminal', async () => {
  const clock = new HeldClock();
  const [stdout, stderr] = [new Written(), new Written()];
  await play(new TextRenderer({ stdout, stderr, clock, live: false, color: false }), clock);
  expect(stdout.text).toMatchInlineSnapshot(`
    "
    migration k3x9 of web 1
    vda: copying: 10.0 MiB of 120 MiB, 8 %, 2.0 MiB/s, 55 s left
    paused: copying stands still, and the guest goes on, mirrored
    going on
    speed: at most 5.0 MiB/s from now on
    done    copy      the images below the snapshot  (6 s)
    warning: a\\x0ab
    swapped: 2 disks at one instant
    done    pivot     the guest is on the target  (80.0 ms)
    moved
    guest I/O held 9.4 ms
    "
  `);
  expect(stderr.text).toBe('');
  expect(stdout.lines.filter((line) => line.includes('guest I/O held'))).toEqual(['guest I/O held 9.4 ms']);
});

test('live lines on a terminal, gone at the end', async () => {
  const clock = new HeldClock();
  const screen = new Screen(80);
  const renderer = new TextRenderer({ stdout: screen, stderr: new Written(), clock, live: true, color: false });
  renderer.begin(samplePlan);
  renderer.event({ type: 'step', step: 'copy', state: 'begun' });
  renderer.progress({
    phase: 'copy',
    key: '/big/vda.qcow2',
    disks: ['vda'],
    done: 10 * MiB,
    total: 20 * MiB,
    rate: MiB,
  });
  await clock.pass(100);
  renderer.question('what now?');
  expect(screen.shown.join('\n')).toMatchInlineSnapshot(`
    "
    migration k3x9 of web 1
    vda  copying  [---------]  10.0 MiB of 120 MiB, 8 %, 1.0 MiB/s, 1 min 50 s left
    vdb  copying  [---------]  0 B of 120 MiB, 0 %
    what now?"
  `);
  renderer.question(undefined);
  renderer.event({ type: 'held', kind: 'pivot', ms: 9.42, disks: 2 });
  renderer.result({ outcome: 'done', exitStatus: 0, message: 'moved' });
  expect(screen.shown.slice(-3)).toEqual(['swapped: 2 disks at one instant', 'moved', 'guest I/O held 9.4 ms']);
});

test('an object per line for a program', async () => {
  const clock = new HeldClock();
  const stdout = new Written();
  await play(new JsonRenderer(stdout, clock), clock);
  const objects = stdout.lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(objects.map(({ type }) => type)).toEqual([
    'begin',
    'started',
    'step',
    'progress',
    'paused',
    'resumed',
    'speed',
    'step',
    'warning',
    'step',
    'progress',
    'held',
    'step',
    'held',
    'finished',
    'result',
  ]);
  expect(objects[2]).toEqual({ type: 'step', time: '2026-11-23T01:00:01.000Z', step: 'copy', state: 'begun' });
  expect(objects[3]).toMatchObject({ type: 'progress', phase: 'copy', key: '/big/vda.qcow2', done: 10 * MiB });
  expect(objects[11]).toMatchObject({ type: 'held', kind: 'pivot', ms: 9.42, disks: 2 });
  expect(objects.at(-1)).toMatchObject({ type: 'result', outcome: 'done', exitStatus: 0, message: 'moved' });
});

describe('errors', () => {
  const refused = planRefused('web 1', [
    ferryError('DISK_SHAREABLE', { disk: 'vda' }),
    ferryError('TARGET_NAME_TAKEN', { path: '/big/a\nb' }),
  ]);

  test('of a refused plan: every reason with its remedy, on standard error', () => {
    const [stdout, stderr] = [new Written(), new Written()];
    const renderer = new TextRenderer({ stdout, stderr, clock: new HeldClock(), live: false, color: false });
    renderer.error(refused, { debug: false });
    expect(stderr.text).toMatchInlineSnapshot(`
      "blockferry: the migration of web 1 is refused, and nothing was touched (2 reasons):
        - disk vda is shareable (share-rw=on): what another VM writes to it would not reach the mirror
          what to do: Name the other disks with --disk, or shut down every VM that uses it and copy it.
        - the target has a file /big/a\\x0ab already
          what to do: Move it away or give another folder. blockferry never overwrites a file.
      "
    `);
    expect(stdout.text).toBe('');
  });

  test('for a program: an object with all reasons, on standard output', () => {
    const stdout = new Written();
    new JsonRenderer(stdout, new HeldClock()).error(refused, { debug: false });
    const error = JSON.parse(stdout.text) as Record<string, unknown>;
    expect(error).toMatchObject({
      type: 'error',
      code: 'PLAN_REFUSED',
      exitStatus: 3,
      refusals: [{ code: 'DISK_SHAREABLE' }, { code: 'TARGET_NAME_TAKEN' }],
    });
    expect(error).not.toHaveProperty('stack');
  });

  test('the stack and the causes only when asked for', () => {
    const error = ferryError('INTERNAL', { what: 'oops' }, { cause: new Error('the cause') });
    const stderr = new Written();
    const renderer = new TextRenderer({
      stdout: new Written(),
      stderr,
      clock: new HeldClock(),
      live: false,
      color: false,
    });
    renderer.error(error, { debug: false });
    expect(stderr.lines).toHaveLength(2);
    renderer.error(error, { debug: true });
    expect(stderr.text).toContain('caused by:\n  Error: the cause\n');
  });
});
