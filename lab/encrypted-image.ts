import { isFerryError, run } from '../src/base/index.ts';

/** A LUKS header takes this many attempts at the most. */
const ATTEMPTS = 100;

/**
 * Makes an encrypted qcow2 image of 1 MiB. qemu-img measures its own processor time to choose how often a key is hashed, and
 * gives up ("Unable to get accurate CPU usage") where the clock is too coarse for that: on a virtual machine every
 * second time or so. So it is asked again.
 */
export async function makeEncryptedImage(path: string, secret: string, qemuImg = 'qemu-img'): Promise<void> {
  const luks = 'encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10';
  const args = ['create', '-q', '--object', `secret,id=s,data=${secret}`, '-f', 'qcow2', '-o', luks, path, '1M'];
  for (let attempt = 1; ; attempt++) {
    try {
      await run(qemuImg, args);
      return;
    } catch (error) {
      if (attempt === ATTEMPTS || !isFerryError(error, 'TOOL_FAILED') || !/accurate CPU/.test(error.message))
        throw error;
    }
  }
}
