export { type Clock, systemClock } from './clock.ts';
export { EventQueue, type NextOptions } from './event-queue.ts';
export { ERROR_ENTRIES, ERRORS, EXIT, type ErrorCode, type ErrorFields, type ExitName } from './error-registry.ts';
export {
  errnoOf,
  FerryError,
  type FerryErrorOptions,
  ferryError,
  ignoreMissing,
  isFerryError,
  isGone,
  messageOf,
} from './ferry-error.ts';
export { waitUntilAtRest } from './process-rest.ts';
export { Semaphore } from './semaphore.ts';
export { limitedBy, run, type RunOptions, type RunResult } from './subprocess.ts';
export { tools } from './tools.ts';
export { formatDuration, formatRate, formatSize, parseMilliseconds, parseSize } from './units.ts';
export { waitWithin } from './wait-within.ts';
