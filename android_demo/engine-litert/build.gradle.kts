plugins {
    alias(libs.plugins.android.library)
}

android {
    namespace = "dev.pocketportrait.engine.litert"
    compileSdk = libs.versions.compileSdk.get().toInt()
    defaultConfig {
        minSdk = libs.versions.minSdk.get().toInt()
    }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
}

dependencies {
    api(project(":pipeline"))
    implementation(libs.litert)
}
