import { fileURLToPath } from 'node:url';

/** The corpus is not part of the project; where it is at hand, it lies beside the checkout. */
export const DEFAULT_CORPUS: string = fileURLToPath(new URL('../../../shared/corpus', import.meta.url));
