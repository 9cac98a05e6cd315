/** An action that a person can take, with the texts of its button and its confirmation question. */
export interface Deed<Action extends string> {
  readonly action: Action;
  /** The text on the button. */
  readonly label: string;
  /** The title of the question. */
  readonly title: string;
  /** What the action will cause. */
  readonly sentences: readonly string[];
  /** True for an action that must not be triggered by accident. */
  readonly isDangerous: boolean;
}
