/** Says that a promise is broken. */
export type Report = (rule: string, what: string) => void;

/** P7: longest time from the record that ends work to the abort of its calls, ms. */
export const abortMs = 50;
