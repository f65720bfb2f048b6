package dev.pocketportrait.pipeline

import java.io.File
import java.security.MessageDigest

private const val MAX_MANIFEST_BYTES = 16L shl 20

/** A verified bundle: a folder whose listed files have the sizes and digests that the manifest states. */
class Bundle private constructor(val root: File, val manifest: Manifest, val manifestSha256: String) {
    /** The bundle's name in reports. */
    val name: String get() = root.name

    /**
     * Returns one variant.
     *
     * @throws InputError the bundle does not hold it; the message names those it holds.
     */
    fun variant(format: String, precision: String): Variant =
        manifest.variants[format]?.get(precision)
            ?: throw InputError("$name: want $format/$precision, got ${variantNames()}; choose one of these, or export it")

    /** Returns the names of all variants, format/precision. */
    fun variantNames(): List<String> = manifest.variants.flatMap { (format, by) -> by.keys.map { "$format/$it" } }

    /** Returns the contract of a graph. */
    fun graph(name: String): GraphSpec =
        manifest.graphs[name] ?: throw InputError("${this.name}: want the graph $name, got ${manifest.graphs.keys}; export the bundle again")

    /** Returns where a listed file lies. */
    fun file(relative: String): File {
        if (relative !in manifest.files) throw InputError("$name: want a listed file, got $relative")
        return File(root, relative)
    }

    /** Returns how many bytes a path's files have. */
    fun bytesOf(path: String): Long = manifest.filesOf(path).sumOf { manifest.files.getValue(it).bytes }

    /** Yields the golden vectors of a graph, one map of tensors at a time. */
    fun golden(graph: String): Sequence<Map<String, StoredTensor>> =
        manifest.golden[graph].orEmpty().asSequence().map { readSafetensors(file(it)) }

    companion object {
        /**
         * Opens a folder and verifies every file that it lists.
         *
         * @throws InputError no manifest or one unlike the schema; a file is missing, outside the folder,
         *   of another size or another digest.
         */
        fun open(folder: File): Bundle {
            val file = File(folder, MANIFEST)
            if (!file.isFile) throw InputError("${folder.name}: want a bundle, got no $MANIFEST in it; copy the whole folder")
            if (file.length() > MAX_MANIFEST_BYTES) throw InputError("$MANIFEST: want at most $MAX_MANIFEST_BYTES bytes, got ${file.length()}")
            val bytes = file.readBytes()
            val manifest = Manifest.of(bytes.toString(Charsets.UTF_8))
            val root = folder.canonicalFile
            manifest.files.forEach { (path, facts) -> verify(root, path, facts) }
            return Bundle(root, manifest, sha256(bytes.inputStream()))
        }

        private fun verify(root: File, path: String, facts: FileFacts) {
            val file = File(root, path)
            if (!file.canonicalPath.startsWith(root.path + File.separator)) throw InputError("$path: want a file inside the bundle, got a link that leaves it")
            if (!file.isFile) throw InputError("$path: want this file of the bundle, got none; copy the whole folder")
            if (file.length() != facts.bytes) throw InputError("$path: want ${facts.bytes} bytes, got ${file.length()}; copy the bundle again")
            val digest = file.inputStream().use(::sha256)
            if (digest != facts.sha256) throw InputError("$path: want sha256 ${facts.sha256}, got $digest; copy the bundle again")
        }
    }
}

/** Returns the SHA-256 of a stream, to its end, in lower case hexadecimal digits. */
fun sha256(stream: java.io.InputStream): String {
    val digest = MessageDigest.getInstance("SHA-256")
    val buffer = ByteArray(1 shl 16)
    while (true) {
        val count = stream.read(buffer)
        if (count < 0) break
        digest.update(buffer, 0, count)
    }
    return digest.digest().joinToString("") { (it.toInt() and 0xff).toString(16).padStart(2, '0') }
}
