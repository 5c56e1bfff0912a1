import { spawn } from 'node:child_process';
import { ferryError, messageOf } from './ferry-error.ts';

export interface RunOptions {
  /** Kills the process (SIGKILL after `killAfterMs` of SIGTERM) and rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Kills the process after so many milliseconds. For short look-ups only: work is bounded by progress, not by time. */
  readonly timeoutMs?: number;
  /**
   * The most memory of its own that it may have, in bytes (RLIMIT_DATA, by prlimit(1)): a hostile image must not take the
   * host's. Not its address space: malloc reserves much more of that than it uses, the more the more CPUs there are.
   */
  readonly memoryLimit?: number;
  /** The most CPU time, in seconds (RLIMIT_CPU). What waits for a slow storage uses none. */
  readonly cpuLimit?: number;
  readonly input?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** Exit statuses that are an answer and not a failure. Default: 0 only. */
  readonly accept?: readonly number[];
  /** Called with each piece of standard output instead of collecting it. */
  readonly onStdout?: (text: string) => void;
  /** The most that is kept of standard output, in characters; more is an error. Default 64 Mi. */
  readonly maxOutput?: number;
}

export interface RunResult {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

const STDERR_TAIL = 8192;
const KILL_AFTER_MS = 2000;

/** What comes before a program on its command line so that it is bounded. */
export function limitedBy({ memoryLimit, cpuLimit }: Pick<RunOptions, 'memoryLimit' | 'cpuLimit'>): readonly string[] {
  const limits = [
    ...(memoryLimit === undefined ? [] : [`--data=${memoryLimit}`]),
    // At the first limit comes SIGXCPU, which says what happened, and would leave a core; at the second SIGKILL.
    ...(cpuLimit === undefined ? [] : [`--cpu=${cpuLimit}:${cpuLimit + 1}`, '--core=0']),
  ];
  return limits.length === 0 ? [] : ['prlimit', ...limits, '--'];
}

/**
 * Runs a program to its end, without a shell. In a session of its own: a Ctrl-C on the terminal is a question to us, and must
 * not end what we have asked for meanwhile.
 * @throws FerryError TOOL_MISSING when it cannot be started, TOOL_FAILED when it ends otherwise than accepted (the
 *   details hold argv, status, signal and the last 8 KiB of standard error); the signal's reason when aborted.
 */
export async function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  options.signal?.throwIfAborted();
  const [file = program, ...argv] = [...limitedBy(options), program, ...args];
  const child = spawn(file, argv, {
    cwd: options.cwd,
    env: options.env ?? process.env,
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
  });
  let stdout = '';
  let stderr = '';
  let stopped: string | undefined;
  const stop = (why: string, signal: NodeJS.Signals = 'SIGTERM'): void => {
    stopped ??= why;
    child.kill(signal);
    setTimeout(() => child.kill('SIGKILL'), KILL_AFTER_MS).unref();
  };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    if (options.onStdout) return options.onStdout(text);
    stdout += text;
    if (stdout.length > (options.maxOutput ?? 2 ** 26)) stop('it printed more than expected', 'SIGKILL');
    return undefined;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-STDERR_TAIL);
  });
  // A program that does not read its input closes the pipe; its exit status tells more than EPIPE.
  child.stdin.on('error', () => undefined).end(options.input ?? '');
  const onAbort = (): void => stop('aborted');
  options.signal?.addEventListener('abort', onAbort, { once: true });
  const timer =
    options.timeoutMs === undefined
      ? undefined
      : setTimeout(() => stop(`no answer within ${options.timeoutMs} ms`, 'SIGKILL'), options.timeoutMs);
  try {
    const [status, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
      child.once('error', (error) => {
        reject(ferryError('TOOL_MISSING', { program, reason: messageOf(error) }, { cause: error }));
      });
      child.once('close', (code, sig) => resolve([code, sig]));
    });
    if (options.signal?.aborted) throw options.signal.reason;
    if (stopped === undefined && status !== null && (options.accept ?? [0]).includes(status)) {
      return { status, stdout, stderr };
    }
    const tooLong = signal === 'SIGXCPU' ? `it took more than ${options.cpuLimit} s of CPU time` : undefined;
    const outcome = stopped ?? tooLong ?? (signal ? `killed by ${signal}` : `exit status ${status}`);
    throw ferryError(
      'TOOL_FAILED',
      { program, outcome, stderr: stderr.trim() || 'it said nothing' },
      { details: { argv: [program, ...args], status, signal, stderr } },
    );
  } finally {
    clearTimeout(timer);
    options.signal?.removeEventListener('abort', onAbort);
  }
}
