import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { run } from '../base/index.ts';
import {
  createAsXml,
  DomainSnapshotError,
  EMPTY_LIST,
  formatSnapshot,
  parseSnapshot,
  redefineSnapshot,
} from './index.ts';

/*
 * The same documents through the real libvirt's test driver, by virsh. That driver takes no mirrors and knows no disk-only
 * snapshots; what it does know it answers with libvirt's own parser, formatter and align.
 */

const installed = spawnSync('virsh', ['--version']).status === 0;
const UUID = '6695eb01-f6a4-8304-79aa-97f2502e193f';

describe.skipIf(!installed)(
  `the real libvirt (${installed ? 'found' : 'virsh is not installed: nothing was run'})`,
  () => {
    let folder = '';
    let uri = '';

    beforeAll(() => {
      folder = mkdtempSync(join(tmpdir(), 'virsh-'));
      writeFileSync(
        join(folder, 'node.xml'),
        `<node><domain type='test'><name>vm</name><uuid>${UUID}</uuid><memory>1024</memory><os><type>hvm</type></os><devices>
         <disk type='file'><driver name='qemu' type='qcow2'/><source file='${folder}/vda.qcow2'/><target dev='vda' bus='virtio'/></disk>
         <disk type='file' device='cdrom'><target dev='hda' bus='ide'/></disk></devices></domain></node>`,
      );
      writeFileSync(join(folder, 'vda.qcow2'), '');
      uri = `test://${folder}/node.xml`;
    });
    afterAll(() => rmSync(folder, { recursive: true }));

    async function virsh(
      ...commands: readonly string[]
    ): Promise<{ readonly stdout: string; readonly stderr: string }> {
      return await run('virsh', ['-c', uri, commands.join('; ')], { accept: [0, 1], cwd: folder });
    }

    test.each([
      ['n', 'd', ['vda,file=/a,,b'], '/m'],
      ['n', "d'<", ['vda', 'hda,snapshot=no'], undefined],
      ['n', 'd', ['vda,stype=block,driver=qcow2,file=/dev/x'], 'snapshot=no'],
    ] as const)('snapshot-create-as --print-xml %#', async (name, description, diskspecs, memspec) => {
      const args = [
        'snapshot-create-as',
        'vm',
        '--print-xml',
        '--name',
        name,
        '--description',
        description,
        ...(memspec === undefined ? [] : ['--memspec', memspec]),
        ...diskspecs.flatMap((spec) => ['--diskspec', spec]),
      ];
      const { stdout } = await run('virsh', ['-c', uri, ...args]);
      const ours = createAsXml({ name, description, diskspecs, ...(memspec === undefined ? {} : { memspec }) });
      expect(stdout.trimEnd()).toBe(ours.trimEnd());
    });

    test('redefine, and print what was stored', async () => {
      const { stdout: domain } = await virsh('dumpxml vm --inactive');
      const documents = [
        ['running', "<memory snapshot='internal'/>", ''],
        ['shutoff', '', "<disks><disk name='vda'/></disks>"],
        ['disk-snapshot', '', "<disks><disk name='vda' snapshot='external'><driver type='qed'/></disk></disks>"],
        [
          'disk-snapshot',
          '',
          `<disks><disk name='${folder}/vda.qcow2'><source file='/new'><seclabel model='dac' relabel='no'/></source></disk></disks>`,
        ],
        ['paused', "<memory file='/m&amp;'/>", "<disks><disk name='hda' snapshot='no'/></disks>"],
      ].map(
        ([state, memory, disks], place) =>
          `<domainsnapshot><name>s${place}</name><description>two\nlines &lt;</description><state>${state}</state><creationTime>${place + 1}</creationTime>${memory}${disks}${domain.trim()}</domainsnapshot>`,
      );
      const commands = documents.flatMap((xml, place) => {
        writeFileSync(join(folder, `s${place}.xml`), xml);
        return [`snapshot-create vm s${place}.xml --redefine`, `snapshot-dumpxml vm s${place}`];
      });
      const { stdout, stderr } = await virsh(...commands);
      expect(stderr).toBe('');
      const theirs = [...stdout.matchAll(/<domainsnapshot>[\s\S]*?<\/domainsnapshot>\n/g)].map(([text]) => text);
      const ours = documents.map((xml) => {
        const { snapshot } = parseSnapshot(xml, { flags: ['REDEFINE'] });
        const files = { isRegularFile: (path: string) => path === `${folder}/vda.qcow2` };
        const list = redefineSnapshot(EMPTY_LIST, snapshot, { domainUuid: UUID, files });
        return formatSnapshot(list.snapshots[0] ?? snapshot, { domainUuid: UUID });
      });
      expect(theirs).toEqual(ours);
    });

    test('errors, word for word', async () => {
      const documents = [
        "<domainsnapshot><disks><disk name='vda' snapshot='x'/></disks></domainsnapshot>",
        '<domainsnapshot><disks><disk/></disks></domainsnapshot>',
        "<domainsnapshot><memory file='m'/></domainsnapshot>",
        "<domainsnapshot><memory snapshot='manual'/></domainsnapshot>",
        "<domainsnapshot><disks><disk name='vda'><source file='rel'/></disk></disks></domainsnapshot>",
        "<domainsnapshot><disks><disk name='vda'><driver type='luks'/></disk></disks></domainsnapshot>",
        "<domainsnapshot><disks><disk name='vda' type='network'><source protocol='rbd' name='x'/></disk></disks></domainsnapshot>",
        "<domainsnapshot><disks><disk name='vda' type='nvme'><source type='pci'/></disk></disks></domainsnapshot>",
        "<domainsnapshot><disks><disk name='vda'><source file='/a'><auth/></source></disk></disks></domainsnapshot>",
        '<wrong/>',
      ];
      const commands = documents.map((xml, place) => {
        writeFileSync(join(folder, `e${place}.xml`), xml);
        return `snapshot-create vm e${place}.xml`;
      });
      const { stderr } = await virsh(...commands);
      const ours = documents.map((xml) => {
        try {
          parseSnapshot(xml);
        } catch (error) {
          if (error instanceof DomainSnapshotError) return `error: ${error.message}`;
          throw error;
        }
        return 'accepted';
      });
      expect(stderr.trim().split('\n')).toEqual(ours);
    });
  },
);
