import { ferryError, isFerryError, run, type RunOptions, type RunResult, tools } from '../base/index.ts';

/** The description of an image that QEMU's tools take in place of a file name. Nothing in a path can be misread in it. */
export type BlockOptions = { readonly [key: string]: string | number | boolean | null | BlockOptions };

/** The protocol node of a file or a block device (`BlockdevOptionsFile`). */
export function fileNode(path: string, blockDevice: boolean): BlockOptions {
  return { driver: blockDevice ? 'host_device' : 'file', filename: path };
}

/** The argument that makes QEMU's tools open exactly these nodes. */
export function jsonName(options: BlockOptions): string {
  return `json:${JSON.stringify(options)}`;
}

/** What a look at one image may take: a hostile one must not hold us up or take the host's memory. */
const LOOK_LIMITS = { memoryLimit: 2 ** 30, cpuLimit: 30 } as const;
/** What a further image of an open chain may take besides: QEMU's caches of its tables (32 MiB) and what is under way. */
const PER_IMAGE = 2 ** 26;

export interface QemuImgOptions extends Omit<RunOptions, 'memoryLimit' | 'cpuLimit'> {
  /** It moves the data of a chain of so many images, which takes the time that it takes. Default: it only looks. */
  readonly moves?: number;
}

/**
 * Runs qemu-img on the image at `path`, bounded in memory and, unless it moves data, in CPU time; the kernel kills it when
 * this process dies, so that nothing of ours goes on writing unwatched.
 * @throws FerryError IMAGE_IN_USE when another process holds the image in a way that does not fit; IMAGE_UNREADABLE when
 *   it may not be opened; TOOL_MISSING, TOOL_FAILED; the signal's reason
 */
export async function qemuImg(path: string, args: readonly string[], options: QemuImgOptions = {}): Promise<RunResult> {
  const program = tools.qemuImg();
  const { moves, ...rest } = options;
  const limits = moves === undefined ? LOOK_LIMITS : { memoryLimit: LOOK_LIMITS.memoryLimit + moves * PER_IMAGE };
  try {
    return await run('setpriv', ['--pdeathsig', 'KILL', '--', program, ...args], { ...rest, ...limits });
  } catch (error) {
    const said = stderrOf(error);
    const context = { cause: error, ...(isFerryError(error) && { details: error.details }) };
    // It runs behind prlimit and setpriv of util-linux, which report that it is not there.
    const reason = /^(?:prlimit|setpriv): failed to execute .*?: (.*)$/m.exec(said)?.[1];
    if (reason !== undefined) throw ferryError('TOOL_MISSING', { program, reason }, context);
    if (/Failed to get (?:shared )?"[^"]*" lock|Failed to lock byte/.test(said))
      throw ferryError('IMAGE_IN_USE', { path }, context);
    if (/Permission denied|Operation not permitted/.test(said)) {
      throw ferryError('IMAGE_UNREADABLE', { path, reason: lastLine(said) }, context);
    }
    throw error;
  }
}

/** What a failed tool said on standard error; empty for other errors. */
export function stderrOf(error: unknown): string {
  const said = isFerryError(error, 'TOOL_FAILED') ? error.details['stderr'] : undefined;
  return typeof said === 'string' ? said : '';
}

/** What a tool said last, without its own name in front; empty when it said nothing. */
export function lastLine(stderr: string): string {
  const line = stderr.trim().split('\n').at(-1) ?? '';
  return line.replace(/^\S*qemu-img: /, '');
}
