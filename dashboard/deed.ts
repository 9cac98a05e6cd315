/** Something that a person can do, as a button and a question say it. */
export interface Deed<Action extends string> {
  readonly action: Action;
  /** On the button. */
  readonly label: string;
  /** Over the question. */
  readonly title: string;
  /** What will happen. */
  readonly sentences: readonly string[];
  /** Not to be done by accident. */
  readonly isDangerous: boolean;
}
