/** The same commands through virsh and through blockferry, on two test drivers: their texts and statuses, to the byte. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { LibvirtSnapshotHost, runSnapshotCommand } from '../../src/snapshots/index.ts';
import { Lab, LabLibvirtd } from '../index.ts';
import { random as randomOf } from '../torture/random.ts';
import { freshTestDriver } from './fresh-test-driver.ts';
import { randomCommand } from './random-commands.ts';

const SEQUENCES = 40;
/** What is done to a text in an editor. */
const EDITOR = 'sed -i -e s/first/FIRST/ -e s/s3/s9/';

const FILES: Readonly<Record<string, string>> = {
  's2.xml':
    '<domainsnapshot><name>s2</name><description>x &amp; y</description><parent><name>s1</name></parent></domainsnapshot>',
  'new.xml': '<domainsnapshot><name>new</name><bogus/></domainsnapshot>',
  'disks.xml': "<domainsnapshot><name>d</name><disks><disk name='vda' snapshot='no'/></disks></domainsnapshot>",
  'memory.xml': "<domainsnapshot><name>m</name><memory snapshot='external' file='/nowhere/m'/></domainsnapshot>",
  'slash.xml': '<domainsnapshot><name>a/b</name></domainsnapshot>',
  'broken.xml': '<domainsnapshot>',
  'other.xml': '<domain/>',
};

type Said = readonly [status: number | null, stdout: string, stderr: string];

/** Times are those of the moment. */
function withoutTimes(text: string): string {
  const year = new Date().getUTCFullYear();
  return text
    .replaceAll(/(?<!\d)\d{10}(?!\d)/g, (digits) =>
      Math.abs(Date.now() / 1000 - Number(digits)) < 3600 ? 'N' : digits,
    )
    .replaceAll(new RegExp(`${year}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d \\+0000`, 'g'), 'T');
}

test(`${SEQUENCES} sequences of commands say what virsh says`, async () => {
  await using lab = await Lab.open({ name: 'random-commands' });
  await using other = await Lab.open({ name: 'random-commands-virsh' });
  const [ours, virshs] = await Promise.all([LabLibvirtd.start(lab), LabLibvirtd.start(other)]);
  const cwd = join(lab.folder, 'work');
  await mkdir(cwd);
  for (const [name, text] of Object.entries(FILES)) await writeFile(join(cwd, name), text);
  const edited = join(cwd, 'edited');
  const edit = async (text: string): Promise<string> => {
    await writeFile(edited, text);
    execFileSync('sh', ['-c', `${EDITOR} "$1"`, 'sh', edited]);
    return await readFile(edited, 'utf8');
  };
  process.env['TZ'] = 'UTC';
  const env = { ...process.env, EDITOR, VISUAL: EDITOR };
  const virsh = (argv: readonly string[]): Said => {
    const { status, stdout, stderr } = spawnSync('virsh', ['-c', virshs.uri('test'), ...argv], {
      cwd,
      encoding: 'utf8',
      env,
    });
    return [status, withoutTimes(stdout), withoutTimes(stderr)];
  };

  for (let seed = 1; seed <= SEQUENCES; seed += 1) {
    const random = randomOf(seed);
    await using _ = await freshTestDriver(virshs);
    await using client = await freshTestDriver(ours);
    const host = new LibvirtSnapshotHost(client);
    const taken = ['s1', 's2', 's3'].slice(0, random.integer(4));
    const sequence = [
      ...taken.map((name) => ['snapshot-create-as', 'test', name, '--description', 'first']),
      ...Array.from({ length: 2 + random.integer(7) }, () => randomCommand(random)),
    ];
    const before: string[] = [];
    for (const argv of sequence) {
      before.push(argv.join(' '));
      const { stdout, stderr, exitStatus } = await runSnapshotCommand({ host, cwd, edit }, argv);
      const said: Said = [exitStatus, withoutTimes(stdout), withoutTimes(stderr)];
      expect(said, `seed ${seed}: ${before.join('; ')}`).toEqual(virsh(argv));
    }
  }
});
