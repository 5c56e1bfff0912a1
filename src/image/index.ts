export { isProtocolName, relativeBackingName, resolveBackingName } from './backing-name.ts';
export { chainRefusals, checkChain, MAX_CHAIN_DEPTH } from './check-chain.ts';
export { CopyControl, type CopyLimits, type CopyShare } from './copy-control.ts';
export {
  copyImage,
  copyImages,
  type CopyOptions,
  type CopyProgress,
  type CopyRequest,
  type CopyResult,
} from './copy-images.ts';
export { isInside, sameFile } from './file-identity.ts';
export { hasSameContent, isEmptyOverlay, type StatedImage } from './content.ts';
export { type Opener, type Openers, openersOf } from './file-openers.ts';
export { foldOffline, type FoldOptions } from './fold-offline.ts';
export {
  cutImageServer,
  endImageServer,
  imageServerAnswers,
  imageSocket,
  type ServedImage,
  serveImages,
} from './image-server.ts';
export type { BackingLink, Chain, ImageBitmap, ImageInfo, Owner } from './image-info.ts';
export { type OtherUsers, otherUsersOf, type OtherUsersOptions } from './other-users.ts';
export { type BackingReference, createOverlay, type OverlayOptions, rewriteBacking } from './overlay.ts';
export { probeChain, type ProbeChainOptions, probeImage, type ProbeOptions } from './probe.ts';
export { StorageDaemon } from './storage-daemon.ts';
export { storageAnswers } from './storage-answers.ts';
export { spaceNeeded, type StorageSpace, storageSpace } from './storage-space.ts';
export { removeFile, syncFile, syncFolder } from './sync.ts';
export { verifyCopy, type VerifyOptions, type VerifyResult } from './verify-copy.ts';
