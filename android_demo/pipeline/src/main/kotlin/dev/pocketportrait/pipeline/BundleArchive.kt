package dev.pocketportrait.pipeline

import java.io.File
import java.io.InputStream
import java.util.zip.ZipException
import java.util.zip.ZipInputStream

private const val MAX_FILES = 5_000
private const val MAX_BYTES = 2L shl 30

/**
 * Unpacks a bundle's `.zip` into an empty folder.
 *
 * @param maxBytes how much may be unpacked.
 * @return the folder that holds the manifest: [folder], or the one folder in it.
 * @throws InputError no zip, damaged, or its entries are too many, too large, named twice or outside the folder.
 */
fun unpackBundle(zip: InputStream, folder: File, maxBytes: Long = MAX_BYTES): File {
    val names = HashSet<String>()
    var left = maxBytes
    try {
        ZipInputStream(zip.buffered()).use { entries ->
            while (true) {
                val entry = entries.nextEntry ?: break
                if (entry.isDirectory) continue
                val path = relativePath(entry.name, "archive")
                if (!names.add(path.lowercase())) throw InputError("$path: want each name once, got it twice")
                if (names.size > MAX_FILES) throw InputError("want a bundle of at most $MAX_FILES files, got more")
                left -= store(entries, File(folder, path), left)
            }
        }
    } catch (error: ZipException) {
        throw InputError("want a bundle's .zip, got a damaged file (${error.message}); copy it again", error)
    }
    if (names.isEmpty()) throw InputError("want a bundle's .zip, got a file that is none; choose another")
    val top = folder.listFiles().orEmpty()
    return if (top.size == 1 && top[0].isDirectory && !File(folder, MANIFEST).exists()) top[0] else folder
}

private fun store(source: InputStream, target: File, atMost: Long): Long {
    target.parentFile?.mkdirs()
    val buffer = ByteArray(1 shl 16)
    var written = 0L
    target.outputStream().use { sink ->
        while (true) {
            val count = source.read(buffer)
            if (count < 0) return written
            written += count
            if (written > atMost) throw InputError("want a bundle that unpacks to less, got too many bytes; refused")
            sink.write(buffer, 0, count)
        }
    }
}
