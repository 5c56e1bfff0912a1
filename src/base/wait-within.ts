/** How long a caller waits for an answer. */
interface WaitLimits {
  /** Stops waiting at once. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds; default: no limit. */
  readonly timeoutMs?: number | undefined;
}

/** What becomes of a wait whose limit is reached: each settles the promise that is waited for. */
interface LimitReached {
  onAbort(reason: unknown): void;
  onTimeout?(ms: number): void;
}

/**
 * Waits for an answer no longer than the caller wants. Whoever gives the promise settles it when a limit is reached, as
 * only they know what is lost with it.
 * @throws whatever the promise rejects with
 */
export async function waitWithin<T>(
  answer: Promise<T>,
  { signal, timeoutMs }: WaitLimits,
  reached: LimitReached,
): Promise<T> {
  const onAbort = (): void => reached.onAbort(signal?.reason);
  signal?.addEventListener('abort', onAbort, { once: true });
  const timer = timeoutMs === undefined ? undefined : setTimeout(() => reached.onTimeout?.(timeoutMs), timeoutMs);
  try {
    return await answer;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  }
}
