import { copyFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../src/base/index.ts';
import { QmpClient } from '../src/qmp/index.ts';
import { cached } from './cache.ts';
import { debianCodename, PrivateApt } from './debian.ts';
import { LabError } from './requires.ts';
import type { LabVm } from './lab-vm.ts';
import type { LabDisk } from './vm-command-line.ts';

/** The name by which a host finds the agent's port. */
const PORT = 'org.qemu.guest_agent.0';
const MiB = 2 ** 20;

/** The sizes of the disks of `filesystemDisks`, as `warm` takes them. */
export const FILESYSTEM_DISK_SIZES: readonly number[] = [32 * MiB, 32 * MiB];

/** Where a guest with an agent has its file system. */
export const GUEST_FOLDER = '/data';

/**
 * Makes the two disks of a guest with an agent: `vda` has an ext4 file system, whose driver is in the kernel, and `vdb` the agent,
 * which the guest unpacks from there. So no other guest is made larger by it, and one that has booted before can take it.
 */
export async function filesystemDisks(folder: string): Promise<LabDisk[]> {
  const [data, tools] = [join(folder, 'data.raw'), join(folder, 'tools.raw')];
  await writeFile(data, '');
  await truncate(data, FILESYSTEM_DISK_SIZES[0]);
  await run('mkfs.ext4', ['-q', '-F', data]);
  await copyFile(await agentFiles(), tools);
  await truncate(tools, FILESYSTEM_DISK_SIZES[1]);
  return [
    { id: 'vda', path: data, format: 'raw' },
    { id: 'vdb', path: tools, format: 'raw' },
  ];
}

/** Gives a VM that is driven over QMP a port for the agent. @param id of its device; default: it has none */
export async function plugAgentPort({ qmpPath }: LabVm, socket: string, id?: string): Promise<void> {
  await using qmp = await QmpClient.connect({ path: qmpPath });
  const addr = { type: 'unix' as const, data: { path: socket } };
  await qmp.execute('chardev-add', {
    id: 'guest-agent',
    backend: { type: 'socket', data: { addr, server: true, wait: false } },
  });
  const device = { driver: 'virtserialport', bus: 'channels.0', chardev: 'guest-agent', name: PORT };
  await qmp.executeRaw('device_add', { ...device, ...(id !== undefined && { id }) });
}

/** Mounts the file system of `filesystemDisks` at `GUEST_FOLDER`. The guest writes nothing to it that it is not told to. */
export async function mountFilesystem(vm: LabVm): Promise<void> {
  await vm.booted();
  await must(
    vm,
    `mkdir ${GUEST_FOLDER} && mount -t ext4 ${vm.devices.get('vda')} ${GUEST_FOLDER} && sync && echo 0 > /proc/sys/vm/dirty_writeback_centisecs`,
  );
}

/** In libvirt's XML, the port for the agent. */
export const AGENT_CHANNEL: string = `<channel type='unix'><target type='virtio' name='${PORT}'/></channel>`;

/** What the agent runs before it freezes, and after it thaws: it stays in it while a file of this guest asks for that. */
const HOOK: string = String.raw`#!/bin/sh\ntouch /run/in-$1\nwhile [ -e /run/hold-$1 ]; do /bin/usleep 5000; done\n`;

/** Has the next freeze of the guest's file systems begin, and not get on, until `release`. */
export async function holdFreeze(vm: LabVm): Promise<{ begun(): Promise<void>; release(): Promise<void> }> {
  await must(vm, 'rm -f /run/in-freeze && touch /run/hold-freeze');
  return {
    begun: async () => void (await must(vm, 'until [ -e /run/in-freeze ]; do usleep 5000; done')),
    release: async () => void (await must(vm, 'rm /run/hold-freeze')),
  };
}

/** Starts QEMU's guest agent in a guest that has a port for it; resolves when it has opened that. */
export async function startGuestAgent(vm: LabVm): Promise<void> {
  await vm.booted();
  await must(vm, `cd / && tar xf ${vm.devices.get('vdb')}`);
  const port = await must(
    vm,
    `until p=$(grep -lx ${PORT} /sys/class/virtio-ports/*/name); do usleep 5000; done; p=\${p%/name}; echo -n /dev/\${p##*/}`,
  );
  await must(vm, `printf '${HOOK}' > /run/hook && chmod +x /run/hook`);
  const options = `-m virtio-serial -p ${port} -t /run -f /run/agent.pid -l /run/agent.log -F/run/hook`;
  await must(vm, `LD_LIBRARY_PATH=/agent /agent/qemu-ga ${options} -d`);
}

/** Runs a command in the guest. @returns its output @throws LabError when it fails */
async function must(vm: LabVm, command: string): Promise<string> {
  const { status, output } = await vm.shell(command);
  if (status !== 0) throw new LabError(`the guest of ${vm.name}: '${command}' failed (${status}): ${output.trim()}`);
  return output;
}

/** QEMU's own guest agent as Debian packages it, with its libraries, as a tar file. */
async function agentFiles(): Promise<string> {
  const codename = await debianCodename();
  const folder = await cached(`guest-agent-package-${codename}`, async (making) => {
    const apt = await PrivateApt.open(join(making, 'apt'), [codename]);
    await apt.unpack(['qemu-guest-agent'], join(making, 'unpacked'));
    const agent = join(making, 'agent');
    await run('mkdir', [agent]);
    await run('cp', [join(making, 'unpacked', 'usr', 'sbin', 'qemu-ga'), agent]);
    const { stdout } = await run('ldd', [join(agent, 'qemu-ga')]);
    const libraries = [...stdout.matchAll(/ => (\/\S+)/g)].map(([, path = '']) => path);
    await run('cp', ['-Lt', agent, ...libraries]);
    await run('tar', ['-C', making, '-cf', join(making, 'agent.tar'), 'agent']);
    await run('rm', ['-r', agent, join(making, 'unpacked')]);
    await apt.remove();
  });
  return join(folder, 'agent.tar');
}
