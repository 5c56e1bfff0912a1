import { defineConfig } from 'vitest/config';

/**
 * Two suites. `unit` needs nothing but Node. `integ` runs real QEMU, so its files run one after another: two cores are
 * shared with the guests, and a test waits for states, never for times.
 */
const config: ReturnType<typeof defineConfig> = defineConfig({
  test: {
    projects: [
      { test: { name: 'unit', include: ['{src,lab,setup,bench}/**/*.test.ts'], testTimeout: 60_000 } },
      {
        test: {
          name: 'integ',
          include: ['{src,lab,setup,docs}/**/*.integ.ts'],
          testTimeout: 600_000,
          hookTimeout: 600_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
export default config;
