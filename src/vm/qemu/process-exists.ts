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
