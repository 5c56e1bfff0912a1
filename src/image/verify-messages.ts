import type { CopyLimits } from './copy-control.ts';

/** What the comparing process is started with. */
export interface VerifyTask {
  readonly source: string;
  readonly sourceIsBlockDevice: boolean;
  readonly target: string;
  readonly limits: CopyLimits;
}

/** What it is told while it runs. */
export type VerifyOrder = { readonly task: VerifyTask } | { readonly limits: CopyLimits };

/** What it reports. Offsets and sizes in bytes. */
export type VerifyReport =
  | { readonly kind: 'progress'; readonly compared: number; readonly total: number }
  | { readonly kind: 'mismatch'; readonly offset: number }
  | { readonly kind: 'failed'; readonly reason: string }
  | {
      readonly kind: 'same';
      readonly compared: number;
      readonly size: number;
      readonly digest: string;
      readonly readBack: 'direct' | 'cache-dropped';
    };
