/** Names for visual styles that pure code and components share. */

/** The meanings of the colours, everywhere the same: at work, well, waits for somebody, bad, nothing to report. */
export type Tone = 'run' | 'ok' | 'wait' | 'bad' | 'idle';

/** The shape of the window: a phone's is narrow. */
export type Shape = 'wide' | 'narrow';
