import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Lab, LabLibvirtd } from '../../../lab/index.ts';
import { editText } from '../../cli/snapshot/edit-text.ts';
import { Blockferry } from '../../cli/testing/blockferry.ts';
import { LibvirtClient } from '../../libvirt/index.ts';
import { LibvirtSnapshotHost, runSnapshotCommand } from '../index.ts';

const REDEFINED = `<domainsnapshot>
  <name>%</name><state>shutoff</state><creationTime>1272917631</creationTime>
  <domain type='test'><name>test</name><uuid>6695eb01-f6a4-8304-79aa-97f2502e193f</uuid><memory>8388608</memory>
  <os><type>hvm</type></os></domain></domainsnapshot>`;

/** Commands that succeed and commands that do not, one after another on one domain. */
const COMMANDS: readonly (readonly string[])[] = [
  ['snapshot-list', 'test'],
  ['snapshot-create-as', 'test', 'b', 'what it is for'],
  ['snapshot-create-as', 'test', '--name=A', '--description', 'x < y'],
  ['snapshot-create-as', 'test', 'a10'],
  ['snapshot-create-as', 'test', 'a10'],
  ['snapshot-create', 'test', 'new.xml', '--redefine'],
  ['snapshot-create', 'test', 'nowhere.xml'],
  ['snapshot-create', 'test', '--current'],
  ['snapshot-create', 'test', 'new.xml', '--validate', '--redefine'],
  ['snapshot-create-as', 'test', 's', '--disk-only'],
  [
    'snapshot-create-as',
    'test',
    's',
    '--print-xml',
    '--memspec',
    '/m,,1',
    '--diskspec',
    'vda,file=/f',
    'vdb,snapshot=no',
  ],
  ['snapshot-create-as', 'test', 's', '--diskspec', 'vda,size=1'],
  ['snapshot-create-as', 'test', 's', '--diskspec', 'vda,stype=network'],
  ['snapshot-create-as', 'test', '', '--print-xml'],
  ['snapshot-create-as', 'nobody', 's'],
  ['snapshot-list', 'test'],
  ['snapshot-list', 'test', '--parent'],
  ['snapshot-list', 'test', '--tree'],
  ['snapshot-list', 'test', '--name', '--topological'],
  ['snapshot-list', 'test', '--leaves', '--name'],
  ['snapshot-list', 'test', '--no-leaves', '--name'],
  ['snapshot-list', 'test', '--leaves', '--no-leaves'],
  ['snapshot-list', 'test', '--roots', '--name'],
  ['snapshot-list', 'test', '--no-metadata'],
  ['snapshot-list', 'test', '--inactive'],
  ['snapshot-list', 'test', '--from', 'b', '--name'],
  ['snapshot-list', 'test', '--from', 'b', '--descendants', '--tree'],
  ['snapshot-list', 'test', '--from', 'b', '--current'],
  ['snapshot-list', 'test', '--descendants'],
  ['snapshot-list', 'test', '--tree', '--internal'],
  ['snapshot-list', 'test', '--parent', '--roots'],
  ['snapshot-info', 'test', 'A'],
  ['snapshot-info', 'test', '--current'],
  ['snapshot-info', 'test'],
  ['snapshot-parent', 'test', 'a10'],
  ['snapshot-parent', 'test', 'b'],
  ['snapshot-dumpxml', 'test', 'A'],
  ['snapshot-dumpxml', 'test', 'A', '--xpath', '//description|//memory/@snapshot|//os/type/@arch'],
  ['snapshot-dumpxml', 'test', 'A', '--wrap', '--xpath', '//os|//name'],
  ['snapshot-dumpxml', 'test', 'A', '--xpath', 'count(//name)'],
  ['snapshot-dumpxml', 'test', 'nope'],
  ['snapshot-current', 'test', '--name'],
  ['snapshot-current', 'test', 'b'],
  ['snapshot-current', 'test', '--name'],
  ['snapshot-current', 'test', 'b', '--name'],
  ['snapshot-revert', 'test', 'A', '--paused'],
  ['snapshot-revert', 'test', 'A', '--paused', '--running'],
  ['snapshot-revert', 'test', 'nope'],
  ['snapshot-edit', 'test', 'A', '--clone'],
  ['snapshot-edit', 'test', 'A', '--rename', '--clone'],
  ['snapshot-edit', 'test', 'b'],
  ['snapshot-delete', 'test', 'A', '--children-only'],
  ['snapshot-delete', 'test', 'b', '--children', '--children-only'],
  ['snapshot-delete', 'test', 'b', '--metadata'],
  ['snapshot-delete', 'test', '--current'],
  ['snapshot-delete', 'test', 'nope'],
  ['snapshot-list', 'test', '--name'],
  ['snapshot-create-as', 'test', 's2', '--halt'],
  ['snapshot-create', 'test', 'new.xml', '--redefine', '--halt'],
  ['snapshot-list', '6695eb01-f6a4-8304-79aa-97f2502e193f'],
];

interface Said {
  readonly stdout: string;
  readonly stderr: string;
}

/** Times of now are as different as two runs are. */
function withoutNow(text: string): string {
  const year = new Date().getFullYear();
  return (
    text
      .replaceAll(new RegExp(`${year}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d [+-]\\d{4}`, 'g'), 'NOW')
      .replaceAll(/<creationTime>\d{10}(?=<)/g, (tag) => (tag.endsWith('1272917631') ? tag : '<creationTime>NOW'))
      // libvirt's client library logs there as well.
      .replaceAll(/^\d{4}-\d\d-\d\d .*\n|^libvirt: .*\n/gm, '')
  );
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", String.raw`'\''`)}'`;
}

async function realVirsh(uri: string, cwd: string, env: NodeJS.ProcessEnv): Promise<Said> {
  const script = COMMANDS.map((argv) => argv.map(quoted).join(' ')).join('; ');
  return await new Promise((resolve) => {
    execFile('virsh', ['-c', uri, script], { cwd, env }, (_, stdout, stderr) => resolve({ stdout, stderr }));
  });
}

describe('on a real libvirtd', () => {
  test('says to the byte what virsh says, command for command', async () => {
    await using lab = await Lab.open({ name: 'snapshots libvirt' });
    const daemon = await LabLibvirtd.start(lab);
    const cwd = await mkdtemp(join(tmpdir(), 'virsh-'));
    try {
      await writeFile(join(cwd, 'new.xml'), REDEFINED.replace('%', 'Zed'));
      const editor = join(cwd, 'editor');
      await writeFile(editor, '#!/bin/sh\nsed -i \'s/<name>A</<name>C</\' "$1"\n', { mode: 0o755 });
      const env = { ...process.env, LC_ALL: 'C.UTF-8', VISUAL: editor };
      // The state of the test driver is there while somebody is connected; so one after another.
      const expected = await realVirsh(daemon.uri('test'), cwd, env);

      await using client = await LibvirtClient.connect(daemon.uri('test'));
      const context = {
        host: new LibvirtSnapshotHost(client),
        cwd,
        edit: async (text: string) => await editText(text, env),
      };
      let stdout = '';
      let stderr = '';
      for (const argv of COMMANDS) {
        const said = await runSnapshotCommand(context, argv);
        stdout += said.stdout;
        stderr += said.stderr;
      }
      expect(withoutNow(stderr)).toBe(withoutNow(expected.stderr));
      expect(withoutNow(stdout)).toBe(withoutNow(expected.stdout));
    } finally {
      await rm(cwd, { recursive: true });
    }
  });

  test('a mirror is refused: libvirt would take the snapshot and make none', async () => {
    await using lab = await Lab.open({ name: 'snapshots libvirt mirror' });
    const daemon = await LabLibvirtd.start(lab);
    await using client = await LibvirtClient.connect(daemon.uri('test'));
    const host = new LibvirtSnapshotHost(client);
    const context = { host, cwd: '/', edit: async (text: string) => await Promise.resolve(text) };
    const argv = ['snapshot-create-as', 'test', 's', '--diskspec', 'vda,mirror=/m'];
    expect(await runSnapshotCommand(context, argv)).toMatchObject({
      stderr: "error: argument unsupported: unable to handle mirroring for 'vda'\n",
      exitStatus: 1,
    });
    expect((await runSnapshotCommand(context, ['snapshot-list', 'test', '--name'])).stdout).toBe('\n');

    // The same libvirtd through the program.
    await runSnapshotCommand(context, ['snapshot-create-as', 'test', 's']);
    const connect = ['--connect', daemon.uri('test')];
    expect(await Blockferry.run('snapshot-parent', 'test', '--current', ...connect)).toEqual({
      status: 1,
      stdout: '\n',
      stderr: "error: snapshot 's' has no parent\n",
    });
    expect((await Blockferry.run('snapshot-current', 'test', '--name', ...connect)).stdout).toBe('s\n');
  });
});
