import { chmod, chown, mkdir, readdir, readFile, rm, truncate } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { messageOf, run, systemClock, tools, waitUntilAtRest } from '../base/index.ts';
import { QmpClient } from '../qmp/index.ts';

/** An image that is served: as a file, whatever its format. */
export interface ServedImage {
  readonly path: string;
  /** Name of its NBD export. */
  readonly name: string;
  /** O_DIRECT. */
  readonly direct: boolean;
  /** An NBD export cannot grow, so the file is made this long, with a hole at its end, before it is served. Bytes. */
  readonly length: number;
}

/** Reaching a program that is alive takes milliseconds, and a guest may be waiting. */
const REACH_MS = 300;
const SHUT_MS = 2000;
const END_MS = 2000;
const LOOK_EVERY_MS = 10;

/** Where the server in this folder of its own listens. */
export function imageSocket(folder: string): string {
  return join(folder, 'nbd.sock');
}

function monitorSocket(folder: string): string {
  return join(folder, 'qmp.sock');
}

/**
 * Serves images over NBD with a qemu-storage-daemon that stands between a VM and a storage which may hang: whoever waits for
 * the storage waits for the server, and that can be cut off. It lives on when this process ends.
 *
 * It takes no locks on the images: those are the VM's, which opens them itself in the end.
 * @param folder is made, for its sockets; a path of at most 90 bytes
 * @param uid the user who may connect
 * @throws FerryError TOOL_MISSING, TOOL_FAILED
 */
export async function serveImages(folder: string, images: readonly ServedImage[], uid: number): Promise<void> {
  await mkdir(folder, { mode: 0o711 });
  for (const { path, length } of images) await truncate(path, length);
  const nodes = images.flatMap(({ path, name, direct }) => {
    const file = {
      driver: 'file',
      'node-name': name,
      filename: path,
      locking: 'off',
      discard: 'unmap',
      cache: { direct },
    };
    const served = { type: 'nbd', id: name, name, 'node-name': name, writable: true };
    return ['--blockdev', JSON.stringify(file), '--export', JSON.stringify(served)];
  });
  const server = JSON.stringify({ addr: { type: 'unix', path: imageSocket(folder) } });
  const chardev = `socket,id=monitor,path=${monitorSocket(folder).replaceAll(',', ',,')},server=on,wait=off`;
  const monitor = ['--chardev', chardev, '--monitor', 'chardev=monitor'];
  await run(tools.qemuStorageDaemon(), ['--daemonize', '--nbd-server', server, ...nodes, ...monitor]);
  for (const pid of await serversIn(folder)) await waitUntilAtRest(pid);
  // Nobody else can open it meanwhile: connecting needs the right to write.
  if (uid !== process.getuid?.()) await chown(imageSocket(folder), uid, -1);
  await chmod(imageSocket(folder), 0o600);
}

async function reach(folder: string): Promise<QmpClient> {
  return await QmpClient.connect({ path: monitorSocket(folder) }, { connectTimeoutMs: REACH_MS });
}

/** Whether the server in this folder answers at all: one that was stopped does not. */
export async function imageServerAnswers(folder: string): Promise<boolean> {
  try {
    (await reach(folder)).close();
    return true;
  } catch (error) {
    messageOf(error);
    return false;
  }
}

/**
 * Takes the images away from whoever uses them: all that waits for an answer has an I/O error at once, though the storage
 * hangs. Killing the server would not do that: a process that waits for a device in the kernel does not end, and its
 * connections stay open until it does. Only a server that does not answer at all is killed: one that was stopped ends so.
 */
export async function cutImageServer(folder: string): Promise<void> {
  try {
    const qmp = await reach(folder);
    // It closes the connections, and then waits for its own I/O: an answer comes when the storage does. Nobody waits for it.
    void closeWhenShut(qmp);
  } catch (error) {
    messageOf(error);
    for (const pid of await serversIn(folder)) kill(pid);
  }
}

async function closeWhenShut(qmp: QmpClient): Promise<void> {
  const over = new AbortController();
  const shut = qmp.executeRaw('nbd-server-stop').catch(messageOf);
  await Promise.race([shut, systemClock.sleep(SHUT_MS, over.signal).catch(messageOf)]);
  over.abort();
  qmp.close();
}

/** Ends the server, if there is one, and removes its folder. One that waits for a storage that hangs ends with the hang. */
export async function endImageServer(folder: string): Promise<void> {
  const pids = await serversIn(folder);
  for (const pid of pids) kill(pid);
  const until = systemClock.monotonic() + END_MS;
  while (systemClock.monotonic() < until && (await serversIn(folder)).length > 0)
    await systemClock.sleep(LOOK_EVERY_MS);
  await rm(folder, { recursive: true, force: true });
}

/** By its command line, so that no number of a process that died is mistaken for it. */
async function serversIn(folder: string): Promise<readonly number[]> {
  const wanted = `path=${monitorSocket(folder).replaceAll(',', ',,')},`;
  const found: number[] = [];
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const argv = (await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '')).split('\0');
    const isServer = basename(argv[0] ?? '') === basename(tools.qemuStorageDaemon());
    if (isServer && argv.some((argument) => argument.includes(wanted))) found.push(Number(name));
  }
  return found;
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    // It has ended meanwhile.
    messageOf(error);
  }
}
