package dev.pocketportrait.demo

import android.content.Context
import dev.pocketportrait.pipeline.Bundle
import dev.pocketportrait.pipeline.InputError
import dev.pocketportrait.pipeline.MANIFEST
import java.io.File

private const val ASSETS = "bundle"
private val copying = Any()

/** The clip that drives where no camera does. */
const val CLIP = "driving.mp4"

/**
 * Returns the bundle that came with the app, verified; it is copied out of the package once, because engines
 * want files. Two threads may ask.
 *
 * @throws InputError the copy is not what the manifest says.
 * @throws java.io.IOException there is no place for it.
 */
fun shippedBundle(context: Context): Bundle = synchronized(copying) {
    val folder = File(context.filesDir, ASSETS)
    val shipped = context.assets.open("$ASSETS/$MANIFEST").use { it.readBytes() }
    val manifest = File(folder, MANIFEST)
    if (manifest.isFile && manifest.readBytes().contentEquals(shipped)) {
        try {
            return@synchronized Bundle.open(folder)
        } catch (error: InputError) {
            folder.deleteRecursively() // a copy that was cut off; the package has it whole
        }
    }
    folder.deleteRecursively()
    copy(context, ASSETS, folder)
    Bundle.open(folder)
}

private fun copy(context: Context, path: String, target: File) {
    val children = context.assets.list(path).orEmpty()
    if (children.isEmpty()) {
        target.parentFile?.mkdirs()
        context.assets.open(path).use { source -> target.outputStream().use(source::copyTo) }
        return
    }
    children.forEach { copy(context, "$path/$it", File(target, it)) }
}
