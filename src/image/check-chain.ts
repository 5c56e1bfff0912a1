import { type FerryError, ferryError } from '../base/index.ts';
import { isProtocolName } from './backing-name.ts';
import type { Chain, ImageInfo } from './image-info.ts';

/** QEMU itself gets slow, and libvirt refuses, far below this. A longer chain is a mistake or an attack. */
export const MAX_CHAIN_DEPTH = 200;

/**
 * Checks the end of a chain that is being walked: that what it names next may be opened at all.
 * @throws FerryError BACKING_PROTOCOL, BACKING_LOOP, BACKING_TOO_DEEP
 */
export function checkNextLink(chain: Chain): void {
  const refusal = linkRefusal(chain);
  if (refusal) throw refusal;
}

/**
 * Why a chain cannot be moved: one error for each reason, none when it can. Looks at nothing but what was probed.
 * The codes: BACKING_PROTOCOL, BACKING_LOOP, BACKING_TOO_DEEP, IMAGE_MISSING (the chain ends although its last image names
 * another), IMAGE_FORMAT_UNSUPPORTED, IMAGE_FORMAT_UNSTATED, IMAGE_DATA_FILE, IMAGE_ENCRYPTED, IMAGE_CORRUPT.
 */
export function chainRefusals(chain: Chain): readonly FerryError[] {
  const refusals = chain.flatMap((image) => imageRefusals(image));
  const broken = chain
    .map((_, index) => linkRefusal(chain.slice(0, index + 1)))
    .find((refusal) => refusal !== undefined);
  if (broken) return [...refusals, broken];
  const missing = chain.at(-1)?.backing;
  return missing ? [...refusals, ferryError('IMAGE_MISSING', { path: missing.path })] : refusals;
}

/**
 * Throws the first of `chainRefusals`.
 * @throws FerryError
 */
export function checkChain(chain: Chain): void {
  const [first] = chainRefusals(chain);
  if (first) throw first;
}

function imageRefusals({ path, format, ...image }: ImageInfo): FerryError[] {
  const refusals: FerryError[] = [];
  if (format !== 'raw' && format !== 'qcow2') refusals.push(ferryError('IMAGE_FORMAT_UNSUPPORTED', { path, format }));
  else if (!image.formatStated) refusals.push(ferryError('IMAGE_FORMAT_UNSTATED', { path, format }));
  if (image.dataFile !== undefined) refusals.push(ferryError('IMAGE_DATA_FILE', { path, dataFile: image.dataFile }));
  if (image.encrypted) refusals.push(ferryError('IMAGE_ENCRYPTED', { path }));
  if (image.corrupt) refusals.push(ferryError('IMAGE_CORRUPT', { path }));
  return refusals;
}

/** Whether the last image of this beginning of a chain stands, and leads on, as it should. */
function linkRefusal(chain: Chain): FerryError | undefined {
  const last = chain.at(-1);
  if (!last) return undefined;
  if (chain.length > MAX_CHAIN_DEPTH) {
    return ferryError('BACKING_TOO_DEEP', { path: chain[0]?.path ?? last.path, limit: MAX_CHAIN_DEPTH });
  }
  if (chain.slice(0, -1).some(({ dev, ino }) => dev === last.dev && ino === last.ino)) {
    return ferryError('BACKING_LOOP', { path: last.path });
  }
  if (last.backing && isProtocolName(last.backing.written)) {
    return ferryError('BACKING_PROTOCOL', { path: last.path, name: last.backing.written });
  }
  return undefined;
}
