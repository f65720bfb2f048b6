package dev.pocketportrait.demo

import android.content.Context
import android.util.Log
import dev.pocketportrait.pipeline.InputError

/**
 * Runs what uses the model; returns what to tell the user where it could not go on, else null.
 *
 * Nothing that a bundle, an engine or the storage does may end the app.
 */
internal fun troubleOf(context: Context, work: () -> Unit): String? = try {
    work()
    null
} catch (error: InputError) {
    context.getString(R.string.model_failed, error.message.orEmpty())
} catch (error: OutOfMemoryError) {
    context.getString(R.string.memory_low)
} catch (error: LinkageError) { // an engine without a library for this processor
    told(context, error)
} catch (error: Exception) { // a full storage; an engine may throw anything at a bad file
    told(context, error)
}

private fun told(context: Context, error: Throwable): String {
    Log.e("pocketportrait", "the model cannot be used", error)
    return context.getString(R.string.model_failed, error.message ?: error.toString())
}
