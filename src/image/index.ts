export { isProtocolName, relativeBackingName, resolveBackingName } from './backing-name.ts';
export { chainRefusals, checkChain, MAX_CHAIN_DEPTH } from './check-chain.ts';
export type { BackingLink, Chain, ImageBitmap, ImageInfo, Owner } from './image-info.ts';
export { type BackingReference, createOverlay, type OverlayOptions, rewriteBacking } from './overlay.ts';
export { probeChain, type ProbeChainOptions, probeImage, type ProbeOptions } from './probe.ts';
export { syncFile, syncFolder } from './sync.ts';
