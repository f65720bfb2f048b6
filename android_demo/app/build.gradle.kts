plugins {
    alias(libs.plugins.android.application)
}

android {
    namespace = "dev.pocketportrait.demo"
    compileSdk = libs.versions.compileSdk.get().toInt()
    defaultConfig {
        applicationId = "dev.pocketportrait.demo"
        minSdk = libs.versions.minSdk.get().toInt()
        targetSdk = libs.versions.targetSdk.get().toInt()
        versionCode = 1
        versionName = "0.1.0"
        ndk {
            abiFilters += listOf("arm64-v8a", "x86_64")
        }
    }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
    androidResources {
        // read in place; weights do not get smaller
        noCompress += listOf("onnx", "tflite", "safetensors", "mp4")
    }
    packaging {
        jniLibs {
            // uncompressed and aligned: what devices with 16 KB pages ask for
            useLegacyPackaging = false
        }
    }
}

/** Copies what the Python package ships into the assets: one bundle and one driving clip. */
abstract class CopyShipped : DefaultTask() {
    @get:InputDirectory
    abstract val bundle: DirectoryProperty

    @get:InputFile
    abstract val clip: RegularFileProperty

    @get:OutputDirectory
    abstract val assets: DirectoryProperty

    @get:Inject
    abstract val files: FileSystemOperations

    @TaskAction
    fun copy() {
        files.sync {
            from(bundle) { into("bundle") }
            from(clip) { rename { "driving.mp4" } }
            into(assets)
        }
    }
}

val shipped = rootDir.resolve("../pocketportrait/assets")
val copyShipped = tasks.register<CopyShipped>("copyShipped") {
    bundle.set(shipped.resolve("default_bundle"))
    clip.set(shipped.resolve("samples/driving_london_024.mp4"))
    assets.set(layout.buildDirectory.dir("shipped"))
}

androidComponents {
    onVariants { variant ->
        variant.sources.assets?.addGeneratedSourceDirectory(copyShipped, CopyShipped::assets)
    }
}

dependencies {
    implementation(project(":pipeline"))
    implementation(project(":engine-ort"))
    implementation(project(":engine-litert"))
}
