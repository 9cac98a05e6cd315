/** Words that pure code and components share about how things look. */

/** What a colour means, everywhere: at work, well, waits for somebody, bad, nothing to say. */
export type Tone = 'run' | 'ok' | 'wait' | 'bad' | 'idle';

/** Of the window: a phone's is narrow. */
export type Shape = 'wide' | 'narrow';
