import type { GuestImage } from './guest-image.ts';
import type { QemuBuild } from './qemu-builds.ts';
import { run, isFerryError } from '../src/base/index.ts';

const PROBE_MS = 30_000;

let probed: Promise<'tcg' | 'kvm'> | undefined;

/**
 * How guests run: TCG, or KVM when `BLOCKFERRY_LAB_ACCEL=kvm` asks for it and a guest boots with it within half a minute.
 * A /dev/kvm that exists may still hang every guest (nested virtualization), so its existence says nothing.
 */
export async function chooseAccelerator(build: QemuBuild, image: GuestImage): Promise<'tcg' | 'kvm'> {
  if (process.env['BLOCKFERRY_LAB_ACCEL'] !== 'kvm') return 'tcg';
  probed ??= probeKvm(build, image);
  return await probed;
}

/** Boots a guest that has no command channel: it powers off as soon as its init runs. */
async function probeKvm(build: QemuBuild, image: GuestImage): Promise<'tcg' | 'kvm'> {
  const args = [...build.systemArgs, '-machine', 'pc', '-accel', 'kvm', '-m', '384', '-nodefaults', '-display', 'none'];
  args.push(
    '-no-reboot',
    '-kernel',
    image.kernel,
    '-initrd',
    image.initramfs,
    '-append',
    'quiet panic=-1 blockferry.probe',
  );
  try {
    await run(build.system, args, { env: { ...process.env, ...build.env }, timeoutMs: PROBE_MS });
    return 'kvm';
  } catch (error) {
    if (!isFerryError(error, 'TOOL_FAILED')) throw error;
    console.error('the lab: KVM was asked for, but no guest boots with it here; guests run under TCG');
    return 'tcg';
  }
}
