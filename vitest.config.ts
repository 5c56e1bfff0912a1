import { defineConfig } from 'vitest/config';

/**
 * Two suites. `unit` needs nothing but Node. `integ` runs real QEMU, and its files run two at a time: one leaves half of two
 * cores idle, as a test waits for states, never for times. So a slow machine makes a test slow, and not fail.
 */

/** Tests beside which no other runs: the libvirtds of a host have folders in common. */
const ALONE = ['{src,lab/torture}/**/*libvirt*.integ.ts', '{src/libvirt,src/snapshots,lab/conformance}/**/*.integ.ts'];

const config: ReturnType<typeof defineConfig> = defineConfig({
  test: {
    projects: [
      { test: { name: 'unit', include: ['{src,lab,setup,bench}/**/*.test.ts'], testTimeout: 60_000 } },
      {
        test: {
          name: 'integ',
          include: ['{src,lab,setup,docs}/**/*.integ.ts'],
          exclude: ALONE,
          testTimeout: 600_000,
          hookTimeout: 600_000,
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: 'integ alone',
          include: ALONE,
          testTimeout: 600_000,
          hookTimeout: 600_000,
          fileParallelism: false,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
export default config;
