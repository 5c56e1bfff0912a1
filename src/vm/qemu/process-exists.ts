import { ProcFs } from './proc-fs.ts';

/**
 * Whether the process of a `VmIdentity` still exists: the same boot, number and start time.
 * @param process `BOOTID/PID/STARTTIME`
 */
export async function processExists(process: string, proc: ProcFs = new ProcFs()): Promise<boolean> {
  const [bootId, pid, startTime] = process.split('/');
  const found = await proc.ref(Number(pid));
  return found !== undefined && found.bootId === bootId && found.startTime === startTime;
}

/** Whether the process of a `VmIdentity` is one of this host since it was booted: only of such can it be told that it ended. */
export async function isOfThisBoot(process: string, proc: ProcFs = new ProcFs()): Promise<boolean> {
  return process.split('/')[0] === (await proc.bootId());
}

/** The number of the process of a `VmIdentity`. */
export function pidOf(process: string): number {
  return Number(process.split('/')[1]);
}
