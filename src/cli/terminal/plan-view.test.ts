import { expect, test } from 'vitest';
import { samplePlan } from '../testing/sample-plan.ts';
import { planView } from './plan-view.ts';
import { paint } from './text.ts';

test('a table where it fits', () => {
  expect(planView(samplePlan, 80, paint(false)).join('\n')).toMatchInlineSnapshot(`
    "web 1 (pid 7): 2 disks to move

    DISK     SIZE  TO COPY  IMAGES  FROM             TO
    vda   256 MiB  120 MiB       2  /fast/vda.qcow2  /big/vda.qcow2
    vdb   256 MiB  120 MiB       2  /fast/vdb.qcow2  /big/vdb.qcow2

    3 images with 140 MiB to copy, in about 9 s at 50.0 MiB/s; guest I/O will be held about 12 ms at the swap
    the guest writes 1.5 MiB/s now
    copied once: /fast/base.raw, which vda and vdb stand on
    left alone: cd0: the drive is empty
    space: /big needs 160 MiB at most, has 1.0 GiB free
    source: /fast/vda.qcow2 is removed after the swap; a link there leads to /big/vda.qcow2
    source: /fast/vdb.qcow2 is renamed to /fast/vdb.qcow2.moved-k3x9 after the swap
    source: /fast/base.raw stays: another VM stands on it
    note: the VM's own start command still names /fast/vda.qcow2"
  `);
});

test('lines for each disk where it does not: a path is never cut', () => {
  const lines = planView(samplePlan, 40, paint(false));
  expect(lines.slice(2, 8).join('\n')).toMatchInlineSnapshot(`
    "vda: 256 MiB, 120 MiB to copy, 2 images
      from /fast/vda.qcow2
      to   /big/vda.qcow2
    vdb: 256 MiB, 120 MiB to copy, 2 images
      from /fast/vdb.qcow2
      to   /big/vdb.qcow2"
  `);
});

test('a name with control characters is shown, not obeyed', () => {
  const plan = { ...samplePlan, vm: { ...samplePlan.vm, name: 'x\u001b[2J\ny' } };
  expect(planView(plan, 80, paint(false))[0]).toBe(String.raw`x\x1b[2J\x0ay (pid 7): 2 disks to move`);
});
