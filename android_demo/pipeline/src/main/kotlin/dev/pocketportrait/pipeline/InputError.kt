package dev.pocketportrait.pipeline

/** Input that cannot be used; the message says what was wanted, what came and what to do. */
class InputError(message: String, cause: Throwable? = null) : Exception(message, cause)
