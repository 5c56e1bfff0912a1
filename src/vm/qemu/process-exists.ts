import { type ProcessRef, ProcFs } from './proc-fs.ts';

/**
 * A process as a `VmIdentity` names it.
 * @returns `BOOTID/PID/STARTTIME`; undefined when it has ended
 */
export async function processOf(pid: number, proc: ProcFs = new ProcFs()): Promise<string | undefined> {
  const found = await proc.ref(pid);
  return found && processName(found);
}

/** `BOOTID/PID/STARTTIME` */
export function processName({ bootId, pid, startTime }: ProcessRef): string {
  return `${bootId}/${pid}/${startTime}`;
}

/**
 * Whether the process of a `VmIdentity` still exists: the same boot, number and start time.
 * @param process `BOOTID/PID/STARTTIME`
 */
export async function processExists(process: string, proc: ProcFs = new ProcFs()): Promise<boolean> {
  return (await processOf(pidOf(process), proc)) === process;
}

/** Whether the process of a `VmIdentity` is one of this host since it was booted: only of such can it be told that it ended. */
export async function isOfThisBoot(process: string, proc: ProcFs = new ProcFs()): Promise<boolean> {
  return process.split('/')[0] === (await proc.bootId());
}

/** The number of the process of a `VmIdentity`. */
export function pidOf(process: string): number {
  return Number(process.split('/')[1]);
}
