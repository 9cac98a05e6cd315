import { run } from '../../cli/program.ts';

interface World {
  readonly isTTY?: boolean;
  /** How wide the terminal is. */
  readonly columns?: number;
  readonly env?: Record<string, string>;
  readonly signal?: AbortSignal;
  readonly file?: string;
}

/** Runs `coffer …` as a person would; answers what it wrote and its exit code. */
export async function coffer(args: string, world: World = {}) {
  let stdout = '';
  let stderr = '';
  const code = await run(args.match(/\S+/g) ?? [], {
    stdout: {
      write: (text) => {
        stdout += text;
      },
      isTTY: world.isTTY ?? false,
      columns: world.columns ?? 100,
      rows: 24,
    },
    stderr: {
      write: (text) => {
        stderr += text;
      },
    },
    env: { NO_COLOR: '1', ...world.env },
    signal: world.signal ?? new AbortController().signal,
    readFile: async () => world.file ?? Promise.reject(new Error('no such file')),
  });
  return { code, stdout, stderr };
}
