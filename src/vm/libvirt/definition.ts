import { setTimeout as sleep } from 'node:timers/promises';
import { DOMAIN_STATE, DOMAIN_XML, ERR, isLibvirtError, LibvirtClient } from '../../libvirt/index.ts';
import { isOfThisBoot, pidOf } from '../qemu/process-exists.ts';
import { escapeAttribute } from './domain-xml.ts';
import { qemuOf } from './qemu-process.ts';

/** What a disk is started from. */
export interface StartImage {
  readonly path: string;
  readonly format: 'raw' | 'qcow2';
}

const LOOK_EVERY_MS = 50;

/**
 * Resolves when libvirtd has noted that a domain's QEMU has ended: it has then given the images back, all of them in one
 * transaction (`qemuSecurityRestoreAllLabel`). Where one of them was not there just then, it gave back none, and the next start failed:
 * "Setting different DAC user or group on FILE which is already in use" (9.0).
 * @param process the QEMU, as a `VmIdentity` names it
 * @throws FerryError what `LibvirtClient.connect` and `call` throw
 */
export async function untilEnded(uri: string, uuid: string, process: string): Promise<void> {
  // What was given to a QEMU of another boot is given back by nobody, and forgotten.
  if (!(await isOfThisBoot(process))) return;
  await using client = await LibvirtClient.connect(uri);
  try {
    for (;;) {
      const { dom } = await client.call('DOMAIN_LOOKUP_BY_UUID', { uuid });
      // libvirtd ends a domain under the lock that this call takes as well.
      const { state } = await client.call('DOMAIN_GET_STATE', { dom });
      if (dom.id < 0 || state === DOMAIN_STATE.SHUTOFF || (await isAnother(dom.uuid, process))) return;
      await sleep(LOOK_EVERY_MS);
    }
  } catch (error) {
    if (!isLibvirtError(error, ERR.NO_DOMAIN)) throw error;
  }
}

/** Whether a QEMU runs for the domain that was started after this one. */
async function isAnother(uuid: string, process: string): Promise<boolean> {
  const { pid } = (await qemuOf(uuid)) ?? {};
  return pid !== undefined && pid !== pidOf(process);
}

/**
 * Brings the definition of a domain that has ended up to date: it names the files that its disks had then, overlays that
 * recovery has merged and removed meanwhile. A transient domain has no definition, and nothing is done.
 * @param images the image to start from, for each file that the definition may name
 * @returns whether there was something to change
 * @throws FerryError what `LibvirtClient.connect` and `call` throw
 */
export async function redirectDefinition(
  uri: string,
  uuid: string,
  images: ReadonlyMap<string, StartImage>,
): Promise<boolean> {
  await using client = await LibvirtClient.connect(uri);
  try {
    const { dom } = await client.call('DOMAIN_LOOKUP_BY_UUID', { uuid });
    const { persistent } = await client.call('DOMAIN_IS_PERSISTENT', { dom });
    if (persistent === 0) return false;
    // Without SECURE the passwords in it would be lost.
    const flags = DOMAIN_XML.INACTIVE | DOMAIN_XML.SECURE;
    const { xml } = await client.call('DOMAIN_GET_XML_DESC', { dom, flags });
    const redirected = redirectDisks(xml, images);
    if (redirected !== xml) await client.call('DOMAIN_DEFINE_XML_FLAGS', { xml: redirected });
    return redirected !== xml;
  } catch (error) {
    if (isLibvirtError(error, ERR.NO_DOMAIN)) return false;
    throw error;
  }
}

/** A definition with other images in its disks. All else stays as it is, byte for byte. */
export function redirectDisks(xml: string, images: ReadonlyMap<string, StartImage>): string {
  const byName = new Map([...images].map(([from, to]) => [escapeAttribute(from), to]));
  return xml.replaceAll(/<disk\b[^]*?<\/disk>/g, (disk) => {
    const file = /<source\b[^>]*?\sfile='([^']*)'/.exec(disk)?.[1] ?? '';
    const start = byName.get(file);
    const name = start && escapeAttribute(start.path);
    if (name === undefined || name === file) return disk;
    // The chain below is that of the overlay; libvirt finds the image's own at the next start.
    const alone = disk.replace(/\n *<backingStore\b[^]*<\/backingStore>/, '');
    const moved = alone.replace(`file='${file}'`, () => `file='${name}'`);
    // The overlay is qcow2, whatever the image below it is.
    return moved.replace(/(<driver\b[^>]*?\stype=)'[^']*'/, `$1'${start?.format}'`);
  });
}
