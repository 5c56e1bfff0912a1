import { mkdtempSync, rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../base/index.ts';
import { Journal } from '../../journal/index.ts';
import { runSnapshotCommand } from '../index.ts';
import { KeptDomain } from './kept-domain.ts';

const owner = { name: 'web', uuid: '6695eb01-f6a4-8304-79aa-97f2502e193f' };

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'kept-domain-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

/** Runs a command on a VM that does not run; each opens the journal anew, as a process would. */
async function run(...argv: readonly string[]): Promise<{ readonly stdout: string; readonly stderr: string }> {
  const domain = new KeptDomain({
    owner,
    clock: systemClock,
    openJournal: (use) => Journal.open(dir, { readOnly: use === 'look' }),
    vm: {
      connect: async () => await Promise.resolve(undefined),
      processExists: async () => await Promise.resolve(false),
    },
  });
  const host = { domain: async (name: string) => await Promise.resolve(name === 'web' ? domain : undefined) };
  return await runSnapshotCommand({ host, cwd: dir, edit: async (text) => await Promise.resolve(text) }, argv);
}

interface Metadata {
  readonly parent?: string;
  readonly state?: string;
  readonly time?: number;
  readonly disks?: string;
}

/** Puts metadata back. */
async function redefine(name: string, { parent, state = 'shutoff', time = 1_272_917_631, disks = '' }: Metadata = {}) {
  const xml = `<domainsnapshot><name>${name}</name><state>${state}</state><creationTime>${time}</creationTime>
    ${parent === undefined ? '' : `<parent><name>${parent}</name></parent>`}
    ${disks === '' ? '' : `<disks>${disks}</disks>`}
    <domain type='kvm'><name>web</name><uuid>${owner.uuid}</uuid><memory>1</memory><os><type>hvm</type></os>
    <devices><disk type='file'><source file='/a.img'/><target dev='vda'/></disk></devices></domain></domainsnapshot>`;
  await writeFile(join(dir, 's.xml'), xml);
  return await run('snapshot-create', 'web', 's.xml', '--redefine');
}

describe('snapshots that blockferry keeps', () => {
  test('metadata is put back, listed as libvirt lists it, made current and deleted', async () => {
    expect(await redefine('s1')).toMatchObject({ stdout: "Domain snapshot s1 created from 's.xml'\n", stderr: '' });
    await redefine('s2', { parent: 's1', state: 'running' });
    await redefine('s3', { parent: 's2', time: 0 });
    expect((await run('snapshot-list', 'web', '--tree')).stdout).toBe(
      's1\n  |\n  +- s2\n      |\n      +- s3\n        \n\n',
    );
    // Of s3 no time is known.
    expect((await run('snapshot-list', 'web')).stdout).toMatch(/^.*\n-+\n s1 .* shutoff\n s2 .* running\n\n$/);
    expect((await run('snapshot-list', 'web', '--inactive', '--name')).stdout).toBe('s1\ns3\n\n');
    expect((await run('snapshot-current', 'web', '--name')).stderr).toBe(
      "error: domain 'web' has no current snapshot\n",
    );
    expect((await run('snapshot-current', 'web', 's2')).stdout).toBe('Snapshot s2 set as current\n');
    expect((await run('snapshot-info', 'web', '--current')).stdout).toContain(
      'Parent:         s1\nChildren:       1\n',
    );

    expect((await run('snapshot-delete', 'web', 's2', '--metadata')).stdout).toBe('Domain snapshot s2 deleted\n\n');
    expect((await run('snapshot-parent', 'web', 's3')).stdout).toBe('s1\n');
    expect((await run('snapshot-current', 'web', '--name')).stdout).toBe('s1\n');
    await run('snapshot-delete', 'web', 's1', '--children', '--metadata');
    expect((await run('snapshot-list', 'web', '--name')).stdout).toBe('\n');
  });

  test('what cannot be done is refused in libvirt’s words, and leaves everything as it was', async () => {
    await redefine('s1', { disks: "<disk name='vda' snapshot='external'><source file='/a.s1'/></disk>" });
    for (const [argv, message] of [
      [['snapshot-delete', 'web', 's1'], 'Operation not supported: blockferry does not merge the files of snapshots'],
      [['snapshot-delete', 'web', 's1', '--mirror-abort'], "operation is not valid: snapshot 's1' is not mirrored"],
      [['snapshot-delete', 'web', 'nope', '--metadata'], "no domain snapshot with matching name 'nope'"],
      [['snapshot-revert', 'web', 's1'], 'Operation not supported: a running VM cannot be brought back'],
      [['snapshot-create-as', 'web', 's2'], 'Operation not supported: over QMP a snapshot is of the disks only'],
      [
        ['snapshot-create-as', 'web', 's2', '--disk-only', '--live'],
        'Operation not supported: LIVE does not go with a snapshot over QMP',
      ],
      [
        ['snapshot-create-as', 'web', 's2', '--memspec', '/m'],
        'Operation not supported: over QMP a snapshot is of the disks only',
      ],
      [['snapshot-create-as', 'web', 's2', '--disk-only'], 'Requested operation is not valid: domain is not running'],
      [['snapshot-create-as', 'web', 's1', '--disk-only'], 'operation failed: domain moment s1 already exists'],
      [['snapshot-create-as', 'web', 'a/b', '--disk-only'], "invalid snapshot name 'a/b': name can't contain '/'"],
      [['snapshot-create-as', 'web', 's2', '--quiesce'], "is required by flag 'VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE'"],
      [['snapshot-create', 'web', '--current'], "is required by flag 'VIR_DOMAIN_SNAPSHOT_CREATE_CURRENT'"],
      [['snapshot-create', 'web', 's.xml', '--redefine', '--halt'], 'cannot halt after snapshot of transient domain'],
      [
        ['snapshot-create-as', 'web', 's2', '--disk-only', '--diskspec', 'vda,mirror=/m'],
        'Requested operation is not valid: domain is not running',
      ],
    ] as const) {
      const said = await run(...argv);
      expect(said.stderr, argv.join(' ')).toContain(message);
      expect(said).toMatchObject({ stdout: '\n', exitStatus: 1 });
    }
    expect((await run('snapshot-list', 'web', '--name')).stdout).toBe('s1\n\n');
  });
});
